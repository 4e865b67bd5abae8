"""The verdict over answers: better, worse, can't tell; groups, the gate, and the order of rows."""

from collections.abc import Sequence

import pytest

from sftrun.contract.answers import Answer, PartName
from sftrun.evaluate.verdict import Evaluation, Gate, judge

Row = tuple[bool, bool, str]  # base is right, tuned is right, group


def answers(rows: Sequence[Row], part: PartName = "test") -> list[Answer]:
    found = []
    for index, (base, tuned, group) in enumerate(rows):
        for model, is_right in (("base", base), ("tuned", tuned)):
            found.append(
                Answer(
                    model=model,  # type: ignore[arg-type]
                    part=part,
                    index=index,
                    group=group,
                    prompt=f"question {index}",
                    expected="yes",
                    text="yes" if is_right else "no",
                    loss=0.5 if is_right else 1.5,
                    learnt=2,
                    right=2 * is_right,
                )
            )
    return found


def exact(rows: Sequence[Row], gate: Gate | None = None) -> Evaluation:
    return judge(answers(rows), ["exact_match"], gate=gate)


def test_a_model_that_gains_most_rows_is_better() -> None:
    found = exact([(False, True, "a")] * 70 + [(False, False, "a")] * 10).results[0]
    assert (found.base, found.tuned, found.gained, found.lost) == (0.0, 0.875, 70, 0)
    assert found.outcome == "better"
    assert found.low is not None
    assert found.low > 0.75


def test_a_model_that_loses_rows_is_worse() -> None:
    assert exact([(True, False, "a")] * 12 + [(True, True, "a")] * 40).results[0].outcome == "worse"


def test_few_changes_can_not_be_told_and_the_rows_that_would_are_said() -> None:
    found = exact([(False, True, "a")] * 5 + [(True, False, "a")] * 3 + [(True, True, "a")] * 72).results[0]
    assert found.outcome == "unclear"
    assert found.rows_needed is not None
    assert found.rows_needed > 1000


def test_no_change_at_all_needs_no_number_of_rows() -> None:
    found = exact([(True, True, "a")] * 20).results[0]
    assert (found.outcome, found.rows_needed, found.difference) == ("unclear", None, 0.0)


def test_a_group_counts_by_its_corrected_p() -> None:
    # 6 of 6 gained is p = 0.016 alone, and nothing among ten groups
    rows = [(False, True, "lucky")] * 6 + [(True, True, f"g{number}") for number in range(9) for _ in range(20)]
    groups = {result.group: result for result in exact(rows).groups}
    assert len(groups) == 10
    assert groups["lucky"].p == pytest.approx(0.15625)
    assert groups["lucky"].outcome == "unclear"


def test_a_loss_that_falls_is_better() -> None:
    found = judge(answers([(False, True, "a")] * 40), ["loss", "token_accuracy"]).results
    assert [(one.kind, one.difference, one.outcome) for one in found] == [
        ("loss", -1.0, "better"),
        ("score", 1.0, "better"),
    ]


def test_rows_that_got_worse_come_first() -> None:
    found = exact([(True, True, "a"), (False, True, "a"), (True, False, "a"), (False, False, "a")]).row_results
    assert [row.index for row in found] == [2, 1, 0, 3]
    assert (found[0].base, found[0].tuned, found[0].change) == ("yes", "no", -1.0)


def test_a_row_that_one_model_has_not_answered_yet_is_not_counted() -> None:
    whole = answers([(False, True, "a")] * 20)
    assert judge(whole[:-1], ["exact_match"]).results[0].rows == 19


def test_an_answer_heard_twice_counts_once() -> None:
    whole = answers([(False, True, "a")] * 20)
    assert judge([*whole, *whole], ["exact_match"]) == judge(whole, ["exact_match"])


def test_a_model_alone_has_a_share_and_no_difference() -> None:
    alone = [one for one in answers([(True, True, "a")] * 8) if one.model == "base"]
    found = judge(alone, ["exact_match"]).results[0]
    assert (found.base, found.tuned, found.difference, found.outcome) == (1.0, None, None, None)


def test_neutral_text_and_general_rows_say_what_was_forgotten() -> None:
    general = answers([(True, False, "a")] * 30, "general")
    neutral = [one.model_copy(update={"text": None}) for one in answers([(True, False, "a")] * 30, "neutral")]
    found = judge([*answers([(False, True, "a")] * 30), *general, *neutral], ["exact_match"])
    told = [(one.part, one.metric, one.outcome) for one in found.forgetting]
    assert told == [("general", "exact_match", "worse"), ("general", "loss", "worse"), ("neutral", "loss", "worse")]
    assert found.rows == 30


@pytest.mark.parametrize(
    ("rows", "min_gain", "passes"),
    [
        ([(False, True, "a")] * 30 + [(True, True, "a")] * 30, 0.02, True),
        ([(False, True, "a")] * 30 + [(True, True, "a")] * 30, 0.6, False),
        ([(False, True, "a")] * 2 + [(True, True, "a")] * 30, 0.02, False),  # it may be chance
        ([(True, True, "a")] * 200, -0.05, True),
        ([(True, True, "a")] * 20, -0.05, False),  # so few rows rule nothing out
    ],
)
def test_a_gate_wants_a_gain_that_is_shown(rows: list[Row], min_gain: float, passes: bool) -> None:
    found = exact(rows, Gate("exact_match", min_gain))
    assert found.gate is not None
    assert found.gate.passed is passes


def test_a_gate_whose_metric_no_row_has_is_closed() -> None:
    found = judge(answers([(True, True, "a")] * 20), ["json"], gate=Gate("json", 0.0))
    assert found.gate is not None
    assert (found.gate.passed, found.gate.reason) == (False, "no row has this metric for both models")
