"""What an evaluation is told besides its rows decides the verdict; and the gate's exit status."""

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from sftrun.contract.answers import Answer
from sftrun.contract.jobspec import DataSource, EvaluationSpec
from sftrun.errors import GateClosed
from sftrun.report.show import verdict_words
from sftrun.report.show.terminal_verdict import screen
from sftrun.report.verdicts import judged, require_gain
from sftrun.run.evaluations import GateOrder, Order

ASKED = EvaluationSpec(data=DataSource(files=("/test.jsonl",)))


def plain(content: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(content)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def order(*metrics: Any, **told: Any) -> Order:
    return Order(data="test.jsonl", asked=ASKED, metrics=metrics, **told)


def said(expected: str, base: str, tuned: str, rows: int = 20) -> list[Answer]:
    return [
        Answer(model=model, index=index, prompt="how many?", expected=expected, text=text, is_ended=True)  # type: ignore[arg-type]
        for index in range(rows)
        for model, text in (("base", base), ("tuned", tuned))
    ]


@pytest.mark.parametrize(
    ("metric", "told", "expected", "base", "tuned"),
    [
        ("number", {"tolerance": 0.01}, "1000", "5", "1005"),
        ("regex", {"pattern": "^no"}, "no", "yes", "no, thanks"),
        ("json", {"json_schema": '{"type": "object", "required": ["a"]}'}, '{"a": 1}', "{}", '{"a": 2}'),
    ],
)
def test_what_a_metric_is_told_decides_the_verdict(
    metric: Any, told: dict[str, Any], expected: str, base: str, tuned: str
) -> None:
    (result,) = judged(order(metric, **told), said(expected, base, tuned)).verdict.results
    assert (result.base, result.tuned, result.outcome) == (0.0, 1.0, "better")
    untold = {"pattern": "thanks"} if metric == "regex" else {}
    (other,) = judged(order(metric, **untold), said(expected, base, tuned)).verdict.results
    assert (other.base, other.tuned) != (result.base, result.tuned)


def test_a_closed_gate_is_exit_status_8() -> None:
    found = judged(order("exact_match", gate=GateOrder(metric="exact_match", min_gain=0.1)), said("a", "a", "b"))
    with pytest.raises(GateClosed, match="gate of run 12 is closed") as error:
        require_gain(found, "12")
    assert error.value.exit_code == 8
    assert error.value.help is not None


def test_an_open_gate_says_nothing() -> None:
    found = judged(order("exact_match", gate=GateOrder(metric="exact_match", min_gain=0.1)), said("a", "b", "a"))
    require_gain(found, "12")


def test_the_screen_says_what_is_better_and_shows_rows_that_got_worse_first() -> None:
    answers = said("a", "b", "a", 30) + [
        one.model_copy(update={"index": 30 + one.index, "group": "odd"}) for one in said("q", "q", "\x1b[2Jz", 8)
    ]
    text = plain(screen(judged(order("exact_match", "stops"), answers)))
    assert "38 rows, base against tuned" in text
    assert "better at" in text
    assert "8 rows got worse; the 3 that lost most" in text
    assert "row 31  odd  how many?" in text
    assert "\x1b[2J" not in text


def test_an_answer_missing_from_one_model_is_said() -> None:
    assert judged(order("exact_match"), said("a", "b", "a")[:-1]).remarks == (
        "not all rows are answered: 20 by the base model, 19 by the tuned one",
    )


def test_what_the_rows_can_show_is_said_in_points() -> None:
    assert verdict_words.power_words(80) == "80 rows show a difference of 18 points or more, 4 times of 5"
    assert verdict_words.power_words(3) == "3 rows can show no difference at all"
