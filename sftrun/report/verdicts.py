"""An evaluation's order and its answers -> the verdict, with what could not be judged here and why."""

from collections.abc import Iterable
from typing import Final

from sftrun.contract.answers import Answer
from sftrun.disk import outside
from sftrun.errors import GateClosed
from sftrun.evaluate.metrics import EXTRA, METRICS, Rules, missing
from sftrun.evaluate.verdict import Evaluation, Gate, judge
from sftrun.run.evaluations import Order, latest
from sftrun.run.ledger import RunFolder
from sftrun.strict import Strict

ROWS_IN_REPORT: Final = 200


class Judged(Strict):
    """An evaluation of a run: what was asked, and the verdict; `remarks` say what is missing from it."""

    data: str
    by: str | None
    remarks: tuple[str, ...] = ()
    verdict: Evaluation

    def shortened(self) -> "Judged":
        """With the rows that a report has room for: those that got worse first."""
        kept = self.verdict.row_results[:ROWS_IN_REPORT]
        return self.model_copy(update={"verdict": self.verdict.model_copy(update={"row_results": kept})})


def judged(order: Order, answers: Iterable[Answer]) -> Judged:
    """By all metrics that this environment can compute."""
    schema = None if order.json_schema is None else outside.parse(order.json_schema)
    rules = Rules(order.tolerance, order.pattern, schema)
    lacking = {name: needed for name in order.metrics if (needed := missing([name], rules))}
    metrics = [name for name in order.metrics if name not in lacking]
    gate = None if order.gate is None else Gate(order.gate.metric, order.gate.min_gain)
    found: list[Answer] = list(answers)
    remarks = [f"`{name}` needs {', '.join(packages)}: {EXTRA}" for name, packages in lacking.items()]
    remarks += _open(order, found)
    verdict = judge(found, metrics, rules, gate)
    return Judged(data=order.data, by=order.by, remarks=tuple(remarks), verdict=verdict)


def of_run(run: RunFolder) -> Judged | None:
    """The verdict that a run's report has; None where nothing was asked."""
    store = latest(run)
    order = None if store is None else store.order()
    if store is None or order is None:
        return None
    answers = store.answers()
    return judged(order, answers) if any(answer.model == "tuned" for answer in answers) else None


def require_gain(found: Judged, run: str) -> None:
    """Raise where the gate is closed."""
    gate = found.verdict.gate
    if gate is not None and not gate.passed:
        wanted = (
            f"{100 * gate.min_gain:+g} points of {gate.metric}" if METRICS[gate.metric].kind != "loss" else "less loss"
        )
        message = f"the gate of run {run} is closed, it asks for {wanted}: {gate.reason}"
        raise GateClosed(message, help=f"`sftrun evaluate {run}` shows what got worse")


def _open(order: Order, answers: list[Answer]) -> list[str]:
    counts = [sum(answer.model == name for answer in answers) for name in ("base", "tuned")]
    if counts[0] == counts[1] or 0 in counts:
        return []
    return [f"not all rows are answered: {counts[0]:,} by the base model, {counts[1]:,} by the tuned one"]
