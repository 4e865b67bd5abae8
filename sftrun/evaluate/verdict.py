"""Answers -> the verdict: at what the tuned model is better, at what worse, and what these rows can't tell."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from sftrun.contract.answers import Answer, PartName
from sftrun.contract.choices import MetricName
from sftrun.evaluate import power
from sftrun.evaluate.intervals import Interval, paired_means, paired_shares, wilson
from sftrun.evaluate.metrics import METRICS, Metric, Rules
from sftrun.evaluate.significance import LEVEL, holm, mcnemar_mid
from sftrun.strict import Strict

Outcome = Literal["better", "worse", "unclear"]
FEWEST_GROUP_ROWS: Final = 2
PLAIN: Final = Rules()


class Result(Strict):
    """One metric over some rows.  Without a tuned model (or a base) there is no difference.

    `difference` is tuned less base, of a loss too; `low` and `high` are its interval of 95 %.  `p` is corrected for
    the groups where it is one's.  `rows_needed` would show a difference such as the one seen.
    """

    metric: MetricName
    kind: Literal["yes_no", "score", "loss"]
    part: PartName = "test"
    group: str | None = None
    rows: int
    base: float | None
    base_low: float | None = None
    base_high: float | None = None
    tuned: float | None = None
    tuned_low: float | None = None
    tuned_high: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    gained: int = 0
    lost: int = 0
    outcome: Outcome | None = None
    rows_needed: int | None = None


class RowResult(Strict):
    """One row, answered by both, with each metric's figures; `change` is the sum of what it has gained."""

    part: PartName = "test"
    index: int
    group: str | None
    prompt: str
    expected: str | None
    base: str | None
    tuned: str | None
    base_scores: dict[MetricName, float]
    tuned_scores: dict[MetricName, float]
    change: float


class GateResult(Strict):
    """Whether a gain is what was asked for, and why not."""

    metric: MetricName
    min_gain: float
    passed: bool
    reason: str


class Evaluation(Strict):
    """Base against tuned on the same rows."""

    version: Literal[1] = 1
    rows: int
    results: tuple[Result, ...]
    groups: tuple[Result, ...] = ()
    forgetting: tuple[Result, ...] = ()
    gate: GateResult | None = None
    row_results: tuple[RowResult, ...] = ()

    def result(self, name: MetricName) -> Result | None:
        """Over all test rows."""
        return next((one for one in self.results if one.metric == name), None)


class Pair(NamedTuple):
    """One row by both models; None where one has not answered."""

    base: Answer | None
    tuned: Answer | None

    @property
    def row(self) -> Answer:
        row = self.base or self.tuned
        assert row is not None
        return row


class Gate(NamedTuple):
    """What must be gained."""

    metric: MetricName
    min_gain: float = 0.0


def judge(
    answers: Iterable[Answer], metrics: Sequence[MetricName], rules: Rules = PLAIN, gate: Gate | None = None
) -> Evaluation:
    """The verdict over all answers; each is counted once, whichever order they came in."""
    pairs = _paired(answers)
    test = [pair for pair in pairs if pair.row.part == "test"]
    chosen = [METRICS[name] for name in metrics]
    found = [(one, _scores(one, test, rules)) for one in chosen]
    results = tuple(_result(one, scores) for one, scores in found if scores)
    return Evaluation(
        rows=len(test),
        results=results,
        groups=tuple(result for one, scores in found for result in _groups(one, test, scores)),
        forgetting=tuple(_forgetting(pairs, chosen, rules)),
        gate=None if gate is None else gated(gate, results),
        row_results=_row_results(test, found),
    )


def gated(gate: Gate, results: Sequence[Result]) -> GateResult:
    """A gain must be shown and as large; where a loss is allowed, more than that must be ruled out."""
    found = next((one for one in results if one.metric == gate.metric), None)
    if found is None or found.difference is None or found.low is None or found.high is None:
        return GateResult(**gate._asdict(), passed=False, reason="no row has this metric for both models")
    sign = METRICS[gate.metric].sign
    gain, least = sign * found.difference, min(sign * found.low, sign * found.high)
    if gate.min_gain < 0:
        return GateResult(**gate._asdict(), passed=least >= gate.min_gain, reason="a loss as large is not ruled out")
    if gain < gate.min_gain:
        return GateResult(**gate._asdict(), passed=False, reason="the gain is smaller")
    return GateResult(**gate._asdict(), passed=found.outcome == "better", reason="the gain may be chance")


def _paired(answers: Iterable[Answer]) -> list[Pair]:
    found: dict[tuple[PartName, int], dict[str, Answer]] = defaultdict(dict)
    for answer in answers:
        found[answer.part, answer.index][answer.model] = answer
    return [Pair(models.get("base"), models.get("tuned")) for _, models in sorted(found.items())]


class _Scored(NamedTuple):
    """A row's figures by one metric."""

    place: int
    base: float | None
    tuned: float | None


def _scores(one: Metric, pairs: Sequence[Pair], rules: Rules) -> list[_Scored]:
    """Rows that the metric has a say on, for each model that has answered."""
    found = (
        _Scored(place, *(None if answer is None else one.score(answer, rules) for answer in pair))
        for place, pair in enumerate(pairs)
    )
    # a row that only one of two models has answered (so far) pairs with nothing
    has_both = any(pair.base and pair.tuned for pair in pairs)
    kept = (row for row in found if row.base is not None or row.tuned is not None)
    return [row for row in kept if not has_both or (row.base is not None and row.tuned is not None)]


def _result(one: Metric, scores: Sequence[_Scored], part: PartName = "test", group: str | None = None) -> Result:
    base = [row.base for row in scores if row.base is not None]
    tuned = [row.tuned for row in scores if row.tuned is not None]
    told = Result(metric=one.name, kind=one.kind, part=part, group=group, rows=len(scores), base=None)
    told = told.model_copy(update=_of_one(one, base, "base") | _of_one(one, tuned, "tuned"))
    return told.model_copy(update=_difference(one, base, tuned)) if base and tuned else told


def _of_one(one: Metric, values: Sequence[float], name: str) -> dict[str, float | None]:
    if not values:
        return {name: None}
    found: dict[str, float | None] = {name: sum(values) / len(values)}
    if one.kind == "yes_no":
        interval = wilson(round(sum(values)), len(values))
        found |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return found


def _difference(one: Metric, base: Sequence[float], tuned: Sequence[float]) -> dict[str, object]:
    differences = [after - before for before, after in zip(base, tuned, strict=True)]
    rows, mean = len(differences), sum(differences) / len(differences)
    gained = sum(one.sign * difference > 0 for difference in differences)
    lost = sum(one.sign * difference < 0 for difference in differences)
    if one.kind == "yes_no":
        interval, p = paired_shares(gained, lost, rows), mcnemar_mid(gained, lost)
        needed = power.rows_for_shares(mean, (gained + lost) / rows)
    else:
        interval, p = paired_means(differences, widest=float("inf") if one.kind == "loss" else 1.0)
        needed = power.rows_for_means(mean, _deviation(differences, mean))
    outcome = _outcome(one, mean, interval, p)
    return {
        **{"difference": mean, "low": _finite(interval.low), "high": _finite(interval.high), "p": p},
        **{"gained": gained, "lost": lost, "outcome": outcome},
        "rows_needed": max(needed, rows + 1) if needed is not None and outcome == "unclear" else None,
    }


def _outcome(one: Metric, mean: float, interval: Interval, p: float) -> Outcome:
    """Interval and test must agree: what is called better is so by both."""
    if p >= LEVEL or interval.holds_zero:
        return "unclear"
    return "better" if one.sign * mean > 0 else "worse"


def _deviation(values: Sequence[float], mean: float) -> float:
    return float((sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)) ** 0.5)


def _finite(value: float) -> float | None:
    return value if abs(value) < 1e300 else None


def _groups(one: Metric, pairs: Sequence[Pair], scores: Sequence[_Scored]) -> list[Result]:
    """Each group's, with its p corrected for all of them."""
    by_group: dict[str, list[_Scored]] = defaultdict(list)
    for row in scores:
        group = pairs[row.place].row.group
        if group is not None:
            by_group[group].append(row)
    found = [
        _result(one, rows, group=name) for name, rows in sorted(by_group.items()) if len(rows) >= FEWEST_GROUP_ROWS
    ]
    corrected = holm([1.0 if result.p is None else result.p for result in found])
    return [_corrected(result, p) for result, p in zip(found, corrected, strict=True)]


def _corrected(result: Result, p: float) -> Result:
    if result.p is None:
        return result
    is_lost = result.outcome != "unclear" and p >= LEVEL
    return result.model_copy(update={"p": p, **({"outcome": "unclear"} if is_lost else {})})


def _forgetting(pairs: Sequence[Pair], chosen: Sequence[Metric], rules: Rules) -> Iterable[Result]:
    """The user's general rows by the same metrics, and the loss of all that was read beside the test."""
    general = [pair for pair in pairs if pair.row.part == "general"]
    for one in chosen:
        if one.name != "loss" and (scores := _scores(one, general, rules)):
            yield _result(one, scores, "general")
    parts: tuple[PartName, ...] = ("general", "neutral")
    for part in parts:
        scores = _scores(METRICS["loss"], [pair for pair in pairs if pair.row.part == part], rules)
        if scores:
            yield _result(METRICS["loss"], scores, part)


def _row_results(pairs: Sequence[Pair], found: Sequence[tuple[Metric, Sequence[_Scored]]]) -> tuple[RowResult, ...]:
    """All rows, those that got worse first, then those that got better, then those that stayed."""
    scored: Mapping[int, list[tuple[Metric, _Scored]]] = defaultdict(list)
    for one, scores in found:
        for row in scores:
            scored[row.place].append((one, row))
    rows = [_row_result(pair, scored[place]) for place, pair in enumerate(pairs)]
    return tuple(sorted(rows, key=lambda row: (row.change >= 0, row.change == 0, row.change, row.index)))


def _row_result(pair: Pair, scored: Sequence[tuple[Metric, _Scored]]) -> RowResult:
    both = [(one, row.base, row.tuned) for one, row in scored]
    gains = [one.sign * (after - before) for one, before, after in both if before is not None and after is not None]
    return RowResult(
        part=pair.row.part,
        index=pair.row.index,
        group=pair.row.group,
        prompt=pair.row.prompt,
        expected=pair.row.expected,
        base=pair.base.text if pair.base else None,
        tuned=pair.tuned.text if pair.tuned else None,
        base_scores={one.name: before for one, before, _ in both if before is not None},
        tuned_scores={one.name: after for one, _, after in both if after is not None},
        change=round(sum(gains), 9),
    )
