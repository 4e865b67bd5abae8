"""Intervals and tests against the figures of scipy 1.17 and statsmodels 0.15."""

import math
from itertools import product

import pytest

from sftrun.evaluate import power
from sftrun.evaluate.intervals import at_share, paired_means, paired_shares, quantile, student_quantile, wilson
from sftrun.evaluate.significance import holm, mcnemar, mcnemar_mid

SAME = 1e-9


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [  # statsmodels' proportion_confint(method="wilson")
        (0, 10, 0.0, 0.27753279986288926),
        (1, 10, 0.017876213095072924, 0.40415002679523854),
        (37, 80, 0.35747993562785246, 0.5709564240873121),
        (80, 80, 0.9541818704644728, 1.0),
        (123, 4567, 0.022620022313028024, 0.032039816815401245),
    ],
)
def test_wilson_is_that_of_statsmodels(right: int, rows: int, low: float, high: float) -> None:
    assert wilson(right, rows) == pytest.approx((low, high), abs=SAME)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [  # statsmodels' mcnemar(exact=True)
        (0, 0, 1.0),
        (6, 0, 0.03125),
        (12, 3, 0.03515625),
        (5, 5, 1.0),
        (60, 41, 0.07275700687752425),
        (300, 250, 0.036578745549102676),
        (3000, 2800, 0.00896943600119357),
    ],
)
def test_mcnemar_is_that_of_statsmodels(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, abs=SAME)
    assert mcnemar(lost, gained) == mcnemar(gained, lost)


@pytest.mark.parametrize(
    ("values", "adjusted"),
    [  # statsmodels' multipletests(method="holm")
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.5, 0.5], [1.0, 1.0, 1.0]),
        ([1e-4, 0.02, 0.9, 0.02, 0.3], [0.0005, 0.08, 0.9, 0.08, 0.6]),
        ([], []),
    ],
)
def test_holm_is_that_of_statsmodels(values: list[float], adjusted: list[float]) -> None:
    assert holm(values) == pytest.approx(adjusted, abs=SAME)


@pytest.mark.parametrize(
    ("gained", "lost", "rows", "low", "high"),
    [  # the score test's own two roots, its likelihood maximised by scipy
        (12, 3, 80, 0.01988204, 0.21436917),
        (9, 2, 40, 0.01442573, 0.33902340),
        (30, 21, 100, -0.05053401, 0.22689599),
        (0, 7, 60, -0.22178788, -0.04947477),
    ],
)
def test_the_interval_of_paired_shares_inverts_the_score_test(
    gained: int, lost: int, rows: int, low: float, high: float
) -> None:
    assert paired_shares(gained, lost, rows) == pytest.approx((low, high), abs=1e-8)
    mirrored = paired_shares(lost, gained, rows)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((low, high), abs=1e-8)


def test_where_nothing_changes_the_interval_of_paired_shares_is_wilsons_width() -> None:
    z = quantile()
    assert paired_shares(0, 0, 50) == pytest.approx((-(z**2) / (50 + z**2), z**2 / (50 + z**2)), abs=SAME)
    assert paired_shares(80, 0, 80).high == 1.0


def test_the_score_interval_never_contradicts_itself() -> None:
    for gained, lost in product(range(12), repeat=2):
        low, high = paired_shares(gained, lost, 25)
        assert -1 <= low <= (gained - lost) / 25 <= high <= 1


def test_of_many_rows_a_mean_has_the_normal_interval() -> None:
    values = [((i * 37) % 101 - 40) / 100 for i in range(2000)]
    found = paired_means(values)
    assert found.interval == pytest.approx((0.08713139998447807, 0.11269860001552191), abs=SAME)
    centred = paired_means([value - 0.1 for value in values])
    assert centred.p == pytest.approx(0.9896021963587508, abs=SAME)  # scipy.stats.norm.sf


def test_of_few_rows_the_bootstrap_is_near_students_interval() -> None:
    values = [((i * 37) % 101 - 40) / 100 for i in range(400)]
    # scipy.stats.ttest_1samp(…).confidence_interval()
    assert paired_means(values).interval == pytest.approx((0.07036493887, 0.12783506113), abs=0.003)


def test_the_sign_flip_test_is_near_its_exact_figure() -> None:
    values = [0.3, -0.1, 0.2, 0.5, 0, 0.4, -0.2, 0.1, 0.6, 0.2, 0.15, -0.05]
    # scipy.stats.permutation_test(permutation_type="samples", n_resamples=inf)
    assert paired_means(values).p == pytest.approx(0.037109375, abs=0.01)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(9, 2.2621571628), (29, 2.0452296421), (79, 1.9904502102), (999, 1.9623414611)],  # scipy.stats.t.ppf(0.975, …)
)
def test_students_quantile_is_near_enough(freedom: int, expected: float) -> None:
    assert student_quantile(freedom) == pytest.approx(expected, abs=1e-4)


def test_the_same_differences_give_the_same_interval() -> None:
    values = [math.sin(i) for i in range(90)]
    assert paired_means(values) == paired_means(values)
    assert paired_means(values) != paired_means(values, seed=2)


def test_of_few_rows_nothing_is_known_of_a_mean() -> None:
    assert paired_means([0.5] * 9, widest=1.0) == ((-1.0, 1.0), 1.0)


def test_rows_that_gain_all_the_same_are_not_infinitely_sure() -> None:
    low, high = paired_means([1.0] * 37 + [0.0] * 3, widest=1.0).interval
    assert 0.6 < low < 0.9 < high <= 1.0


def test_a_share_between_two_values_is_numpys() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    found = [at_share(values, share) for share in (0, 0.025, 0.3, 0.5, 0.99, 1)]
    assert found == pytest.approx([1.0, 1.1, 2.4, 4.0, 15.68, 16.0], abs=SAME)  # numpy.quantile


def test_the_smallest_difference_and_the_rows_it_takes_are_the_same_formula() -> None:
    for rows in (20, 80, 1000, 20_000):
        smallest = power.smallest_share(rows)
        assert smallest is not None
        needed = power.rows_for_shares(smallest, power.USUAL_CHANGED)
        assert needed is not None
        assert abs(needed - rows) <= 1


def test_rows_needed_are_connors() -> None:
    # (1.959964 √0.10 + 0.841621 √(0.10 − 0.02²))² / 0.02²
    expected = ((1.959963985 * 0.1**0.5 + 0.841621234 * (0.1 - 0.0004) ** 0.5) / 0.02) ** 2
    assert power.rows_for_shares(0.02, 0.1) == math.ceil(expected)


@pytest.mark.parametrize(("gained", "lost"), [(5, 0), (6, 0), (12, 3), (5, 5), (60, 41), (300, 250), (0, 0), (2, 1)])
def test_the_mid_p_counts_half_of_what_was_seen(gained: int, lost: int) -> None:
    changed, fewer = gained + lost, min(gained, lost)
    below = sum(math.comb(changed, number) for number in range(fewer)) / 2**changed
    seen = math.comb(changed, fewer) / 2**changed
    assert mcnemar_mid(gained, lost) == pytest.approx(min(1.0, 2 * (below + seen / 2)), abs=SAME)


def test_interval_and_test_rarely_disagree() -> None:
    pairs = [(gained, lost, rows) for gained, lost in product(range(30), repeat=2) for rows in (60, 200, 1000)]
    differ = [one for one in pairs if paired_shares(*one).holds_zero != (mcnemar_mid(*one[:2]) >= 0.05)]
    assert len(differ) < 0.04 * len(pairs)


def test_four_rows_show_nothing_and_no_rows_show_no_difference() -> None:
    assert power.smallest_share(4) is None
    assert power.rows_for_shares(0.0, 0.3) is None
    assert power.rows_for_means(0.0, 0.3) is None
