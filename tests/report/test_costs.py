"""Sums over the ledger's runs."""

from datetime import date
from decimal import Decimal

import pytest

from sftrun.report.cost_sums import By, Spent, costs, spent_in_month

TODAY = date(2026, 11, 22)


def run(recipe: str, usd: str, began: str = "2026-11-10", gpu: str = "H200", **tags: str) -> Spent:
    return Spent(
        run_id="0" * 10,
        recipe=recipe,
        tags=tags,
        gpu=gpu,
        began=began,
        seconds=60.0,
        usd=Decimal(usd),
        estimated_usd=Decimal("1.00"),
    )


RUNS = (
    run("a", "1.10", project="census", team="x"),
    run("b", "5.25", gpu="L4", project="census"),
    run("a", "2.20", began="2026-10-31"),
)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("recipe", [("b", "5.25"), ("a", "3.30")]),
        ("gpu", [("L4", "5.25"), ("H200", "3.30")]),
        ("month", [("2026-10", "2.20"), ("2026-11", "6.35")]),
        ("tag", [("project=census", "6.35"), ("no tag", "2.20"), ("team=x", "1.10")]),
    ],
)
def test_runs_are_summed_by_the_key_asked_for(by: By, expected: list[tuple[str, str]]) -> None:
    found = costs(RUNS, by, today=TODAY)
    assert [(group.key, str(group.usd)) for group in found.groups] == expected
    assert found.usd == Decimal("8.55")


def test_since_leaves_earlier_runs_out() -> None:
    found = costs(RUNS, "recipe", since=date(2026, 11, 1), today=TODAY)
    assert (found.runs, found.usd) == (2, Decimal("6.35"))


def test_a_time_is_rounded_where_it_is_shown_alone() -> None:
    (group,) = costs((RUNS[0].model_copy(update={"seconds": 315.49}),), "recipe", today=TODAY).groups
    assert group.seconds == 315.49


def test_the_month_is_counted_whatever_since_says() -> None:
    found = costs(RUNS, "recipe", since=date(2026, 11, 20), today=TODAY, cap=Decimal(10))
    assert (found.runs, found.month_usd, found.month_cap_usd) == (0, Decimal("6.35"), Decimal(10))
    assert spent_in_month(RUNS, date(2026, 10, 1)) == Decimal("2.20")
