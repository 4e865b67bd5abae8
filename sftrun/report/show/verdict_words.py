"""A verdict's figures as people read them: the same in the terminal, in HTML and in a log."""

from collections.abc import Iterator, Sequence

from sftrun.evaluate.metrics import METRICS
from sftrun.evaluate.power import POWER, smallest_share
from sftrun.evaluate.verdict import Evaluation, GateResult, Result
from sftrun.report.show import figures

OFTEN = f"{round(5 * POWER)} times of 5"
HEAD = ("", "rows", "base", "tuned", "difference (95 %)", "")
OUTCOMES = {"better": "better", "worse": "worse", "unclear": "can't tell"}


def name_of(one: Result) -> str:
    """The metric, and over which rows where that is not the test."""
    where = {"test": "", "general": "general: ", "neutral": "neutral text: "}[one.part]
    return f"{where}{one.group if one.group is not None else one.metric}"


def cells(one: Result) -> tuple[str, ...]:
    """A row of the table below `HEAD`."""
    shown = tuple("" if value is None else amount(one, value) for value in (one.base, one.tuned))
    return name_of(one), f"{one.rows:,}", *shown, difference(one), outcome(one)


def amount(one: Result, value: float) -> str:
    """42 %, 0.831 or a loss."""
    if one.kind == "yes_no":
        return f"{100 * value:.0f} %" if value in (0.0, 1.0) else f"{100 * value:.1f} %"
    return figures.loss(value) if one.kind == "loss" else f"{value:.3f}"


def difference(one: Result) -> str:
    """+85.0 points (75.2 to 91.4)."""
    if one.difference is None:
        return ""
    scale, form = (100, "+.1f") if one.kind == "yes_no" else (1, "+.3f")
    low, high = ("?" if end is None else f"{scale * end:{form}}" for end in (one.low, one.high))
    return f"{scale * one.difference:{form}} ({low} to {high})"


def outcome(one: Result) -> str:
    """With the rows that would tell, where these can't."""
    if one.outcome is None:
        return ""
    more = f"; {one.rows_needed:,} rows would" if one.rows_needed is not None else ""
    return OUTCOMES[one.outcome] + more


def summary(found: Evaluation) -> Iterator[tuple[str, str]]:
    """Better at, worse at, can't tell: each with what it is true of."""
    whole = (*found.results, *found.forgetting)
    for name in ("better", "worse", "unclear"):
        told = [_short(one) for one in whole if one.outcome == name]
        if name == "worse":  # of those that got better the table says enough
            told += [f"{one.group} ({one.metric})" for one in found.groups if one.outcome == name]
        if told:
            yield f"{OUTCOMES[name]}{' at' if name != 'unclear' else ''}", _listed(told)


def _short(one: Result) -> str:
    return name_of(one) + (f" ({one.rows_needed:,} rows would)" if one.rows_needed is not None else "")


def _listed(names: Sequence[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def gate_words(gate: GateResult) -> str:
    """Open, or closed and why."""
    wanted = (
        f"{gate.min_gain:+g} of loss" if METRICS[gate.metric].kind == "loss" else f"{100 * gate.min_gain:+g} points"
    )
    return f"{gate.metric} {wanted}: {'open' if gate.passed else f'closed, {gate.reason}'}"


def power_words(rows: int) -> str:
    """What so many rows can show, said before they are asked."""
    smallest = smallest_share(rows)
    if smallest is None:
        return f"{rows:,} rows can show no difference at all"
    return f"{rows:,} rows show a difference of {100 * smallest:.0f} points or more, {OFTEN}"
