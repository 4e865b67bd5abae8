"""Evaluations of several runs, paired row by row: each run's tuned model against the first run's."""

from collections.abc import Sequence
from statistics import mean, stdev

from sftrun.contract.answers import Answer
from sftrun.contract.choices import MetricName
from sftrun.errors import SftrunError
from sftrun.evaluate.verdict import Evaluation
from sftrun.report.verdicts import judged
from sftrun.run.evaluations import Order, latest
from sftrun.run.ledger import RunFolder
from sftrun.strict import Strict


class Against(Strict):
    """One run against the first: there `base` is the first run's tuned model, and `tuned` this one's."""

    run_id: str
    name: str
    verdict: Evaluation


class Spread(Strict):
    """A metric over the runs: how much they differ among themselves, whatever made them differ (a seed, a recipe)."""

    metric: MetricName
    runs: int
    mean: float
    deviation: float


class Comparison(Strict):
    """Several runs on the rows that all of them have answered."""

    first_id: str
    first_name: str
    data: str
    rows: int
    against: tuple[Against, ...]
    spread: tuple[Spread, ...] = ()


def compare(runs: Sequence[RunFolder], metrics: tuple[MetricName, ...] = ()) -> Comparison:
    """The first run is what the others are held against.  Raises where no row was answered by all."""
    orders = [_asked(run) for run in runs]
    said = [_tuned(run) for run in runs]
    shared = {key for key in said[0] if all(key in other and _same(said[0][key], other[key]) for other in said)}
    if not shared:
        names = " and ".join(run.id for run in runs)
        help = "`sftrun evaluate RUN --data FILE` asks each of them the same rows"
        raise SftrunError(f"the runs {names} have answered no row in common", help=help)
    order = orders[0].model_copy(update={"metrics": metrics or orders[0].metrics, "gate": None})
    kept = [[said[number][key] for key in sorted(shared)] for number in range(len(runs))]
    against = tuple(
        Against(run_id=run.id, name=run.manifest().name, verdict=_paired(order, kept[0], answers))
        for run, answers in zip(runs[1:], kept[1:], strict=True)
    )
    tested = sum(part == "test" for part, _ in shared)
    first = runs[0].manifest()
    return Comparison(
        first_id=first.id,
        first_name=first.name,
        data=order.data,
        rows=tested,
        against=against,
        spread=tuple(_spread(against)),
    )


def _asked(run: RunFolder) -> Order:
    store = latest(run)
    order = None if store is None else store.order()
    if order is None:
        help = f"`sftrun evaluate {run.id} --data FILE` asks its rows"
        raise SftrunError(f"run {run.id} was not evaluated yet", help=help)
    return order


def _tuned(run: RunFolder) -> dict[tuple[str, int], Answer]:
    store = latest(run)
    answers = [] if store is None else store.answers()
    return {(answer.part, answer.index): answer for answer in answers if answer.model == "tuned"}


def _same(one: Answer, other: Answer) -> bool:
    return (one.prompt, one.expected) == (other.prompt, other.expected)


def _paired(order: Order, first: Sequence[Answer], other: Sequence[Answer]) -> Evaluation:
    as_base = [answer.model_copy(update={"model": "base"}) for answer in first]
    return judged(order, [*as_base, *other]).verdict


def _spread(against: Sequence[Against]) -> list[Spread]:
    """From three runs on: two say next to nothing of how much runs differ."""
    found = []
    for result in against[0].verdict.results:
        others = [one.verdict.result(result.metric) for one in against]
        values = [result.base, *(other.tuned for other in others if other is not None)]
        known = [value for value in values if value is not None]
        if len(known) >= 3:
            told = {"runs": len(known), "mean": mean(known), "deviation": stdev(known)}
            found.append(Spread.model_validate({"metric": result.metric, **told}))
    return found
