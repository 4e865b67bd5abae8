"""RunState -> Report: what a run did, as values; and the estimate beside the fact.

Pure, and the form of `report.json` and of `show --format json`.  Schema: `schemas/report-v1.schema.json`.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, Literal, get_args

from sftrun.contract.events import Failed, Finished, SourceShare, StageName, Stopped, StopReason
from sftrun.contract.executors import executor
from sftrun.contract.jobspec import MoneySpec
from sftrun.plan.estimate.memory import allocated_gb
from sftrun.plan.types import Plan
from sftrun.report.paces import first_steps, steady
from sftrun.report.show import figures
from sftrun.report.verdicts import Judged
from sftrun.run.billing import Billed
from sftrun.run.ledger import Manifest
from sftrun.run.state import ENDED, Curve, RunState
from sftrun.strict import Strict

HOUR_SECONDS: Final = 3600.0


class StageSeconds(Strict):
    """How long one stage took, over all attempts."""

    name: StageName
    seconds: float


class Point(Strict):
    """A loss after `step` steps."""

    step: int
    loss: float


class SideBySide(Strict):
    """One prompt, answered before and after training."""

    prompt: str
    before: str | None
    after: str | None


class Compared(Strict):
    """An estimate beside the fact; `likely` where that is not the middle."""

    what: Literal["seconds", "memory_gb", "usd", "seconds_per_step", "first_steps_seconds"]
    low: float
    high: float
    actual: float
    likely: float | None = None

    def estimated(self, form: Callable[[float], str]) -> str:
        """The likely figure with its range, in such a form."""
        low, high = form(self.low), form(self.high)
        if low == high:
            return low
        return f"{low} to {high}" if self.likely is None else f"{form(self.likely)} ({low} to {high})"


class StoppedEarly(Strict):
    """Training that ended before its last step, as `patience` evaluations were no better than the best one."""

    step: int
    patience: int
    metric: str
    best: float
    best_step: int


class Failure(Strict):
    """Why it failed, and what to do."""

    failure: str
    stage: StageName
    message: str
    help: str | None
    tail: tuple[str, ...]


class Report(Strict):
    """A run in figures.  What has not happened (yet) is null."""

    version: Literal[1] = 1
    run_id: str
    name: str
    status: Literal["starting", "running", "finished", "stopped", "failed", "lost"]
    attempts: int
    model: str
    adapter: str | None = None
    executor: str
    device: str | None
    gpu_count: int
    began_at: float | None
    seconds: float
    stages: tuple[StageSeconds, ...]
    rows: int | None
    eval_rows: int | None
    tokens: int | None
    learnt_tokens: int | None
    parameters: int | None
    trainable_parameters: int | None
    step: int
    total_steps: int | None
    loss_first: float | None
    loss_last: float | None
    train_loss: float | None
    loss: tuple[Point, ...]
    evals: tuple[Point, ...]
    eval_sets: dict[str, tuple[Point, ...]] = {}
    sources: tuple[SourceShare, ...] = ()
    best_step: int | None = None
    saved_step: int | None = None
    stopped_early: StoppedEarly | None = None
    learning_rate: float | None
    tokens_per_second: float | None
    seconds_per_step: float | None
    first_steps_seconds: float | None = None
    data_wait_share: float | None = None
    memory_gb: float
    spent_usd: Decimal
    billed: Billed | None = None
    checkpoint: str | None
    checkpoints: int
    samples: tuple[SideBySide, ...]
    evaluation: Judged | None = None
    notes: tuple[str, ...]
    stop_reason: StopReason | None
    failure: Failure | None
    output_dir: str
    estimates: tuple[Compared, ...]
    versions: dict[str, str]


def _points(curve: Curve) -> tuple[Point, ...]:
    return tuple(Point(step=step, loss=loss) for step, loss in curve)


def _in_order(seconds: dict[StageName, float]) -> list[tuple[StageName, float]]:
    order: tuple[StageName, ...] = get_args(StageName)
    return sorted(seconds.items(), key=lambda stage: order.index(stage[0]))


def report(
    manifest: Manifest,
    plan: Plan,
    state: RunState,
    output_dir: str,
    billed: Billed | None = None,
    money: MoneySpec | None = None,
    evaluation: Judged | None = None,
) -> Report:
    """Put the figures together; the rate is for a run that has not said yet what it cost."""
    last, outcome = state.last, state.outcome
    return Report(
        run_id=manifest.id,
        name=manifest.name,
        status=state.status,
        attempts=state.attempt,
        model=manifest.model,
        adapter=None if plan.adapter is None else plan.adapter.words,
        executor=manifest.executor,
        device=state.started.device if state.started else None,
        gpu_count=state.started.gpu_count if state.started else 0,
        began_at=state.began_at or None,
        seconds=round(state.seconds, 3),
        stages=tuple(StageSeconds(name=n, seconds=round(s, 3)) for n, s in _in_order(state.stage_seconds)),
        rows=state.data.rows if state.data else None,
        eval_rows=state.data.eval_rows if state.data else None,
        tokens=state.data.tokens if state.data else None,
        learnt_tokens=state.data.learnt_tokens if state.data else None,
        parameters=state.model.parameters if state.model else None,
        trainable_parameters=state.model.trainable_parameters if state.model else None,
        step=state.step,
        total_steps=state.total_steps,
        loss_first=state.first.loss if state.first else None,
        loss_last=last.loss if last else None,
        train_loss=outcome.train_loss if isinstance(outcome, Finished) else None,
        loss=tuple(Point(step=s, loss=v) for s, v in state.curve),
        evals=_points(state.evals),
        eval_sets={name: _points(curve) for name, curve in state.eval_sets.items()},
        sources=state.data.sources if state.data else (),
        best_step=state.best_step,
        saved_step=outcome.saved_step if isinstance(outcome, Finished) else None,
        stopped_early=_stopped_early(state),
        learning_rate=last.learning_rate if last else None,
        tokens_per_second=last.tokens_per_second if last else None,
        seconds_per_step=steady(state.windows),
        first_steps_seconds=_rounded(first_steps(state.windows)),
        data_wait_share=None if state.data_wait_share is None else round(state.data_wait_share, 4),
        memory_gb=state.memory_gb,
        spent_usd=state.spent_at(state.active_at, money or MoneySpec()),
        billed=billed,
        checkpoint=state.checkpoint.path if state.checkpoint else None,
        checkpoints=state.checkpoints,
        samples=tuple(SideBySide(prompt=a.prompt, before=a.before, after=a.after) for a in state.answers),
        evaluation=None if evaluation is None else evaluation.shortened(),
        notes=tuple(note.message for note in state.notes),
        stop_reason=outcome.reason if isinstance(outcome, Stopped) else None,
        failure=_failure(outcome) if isinstance(outcome, Failed) else None,
        output_dir=output_dir,
        estimates=_compare(plan, state),
        versions=state.started.versions if state.started else {},
    )


def error_percent(one: Compared) -> float | None:
    """How far the likely figure of the estimate was from the fact."""
    likely = (one.low + one.high) / 2 if one.likely is None else one.likely
    return 100 * (likely / one.actual - 1) if one.actual else None


def source_facts(report: Report) -> Iterator[tuple[str, str]]:
    """What an epoch takes of each source of a mix."""
    for number, one in enumerate(report.sources):
        words = f"{one.name}: {100 * one.share:.1f} %, {one.rows:,} rows, {one.tokens:,} tokens"
        yield "sources" if number == 0 else "", words


def eval_facts(report: Report) -> Iterator[tuple[str, str]]:
    """The evaluations: the first and the last, the best where something is judged by it, and why training ended."""
    if report.evals:
        ends = dict.fromkeys((report.evals[0], report.evals[-1]))
        yield "eval loss", " → ".join(figures.loss(point.loss) for point in ends)
    for name, points in report.eval_sets.items():
        yield f"  {name}", " → ".join(figures.loss(point.loss) for point in dict.fromkeys((points[0], points[-1])))
    if report.best_step is not None:
        loss = next((f", eval loss {figures.loss(p.loss)}" for p in report.evals if p.step == report.best_step), "")
        saved = "; its weights were saved" if report.saved_step == report.best_step else ""
        yield "best", f"step {report.best_step:,}{loss}{saved}"
    if (early := report.stopped_early) is not None:
        yield "stopped early", figures.stopped_early(early)


def money_facts(report: Report) -> Iterator[tuple[str, str]]:
    """What the run counted, and beside it what was billed, each by its name."""
    so_far = "" if report.status in ENDED else " so far"
    counted, billed = f"{figures.dollars(report.spent_usd)}{so_far}", report.billed
    if billed is None:
        if report.spent_usd or executor(report.executor).rents:
            yield "money", counted
        return
    yield "money", f"{counted} computed, from seconds and prices"
    if report.began_at is not None and billed.through <= report.began_at:
        first = figures.minute((report.began_at // HOUR_SECONDS + 1) * HOUR_SECONDS)
        yield "billed", f"nothing yet: Modal's report has whole hours alone, the first of this run ends {first}"
    else:
        until = f"up to {figures.minute(billed.through)}"
        yield (
            "billed",
            f"{figures.dollars(billed.usd)} in Modal's report {until}, before credits; no later hour is in it",
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _stopped_early(state: RunState) -> StoppedEarly | None:
    event = state.stopped_early
    return None if event is None else StoppedEarly(**event.model_dump(exclude={"kind", "seq", "at"}))


def _failure(event: Failed) -> Failure:
    return Failure(failure=event.failure, stage=event.stage, message=event.message, help=event.help, tail=event.tail)


def _compare(plan: Plan, state: RunState) -> tuple[Compared, ...]:
    """Estimates against facts, once the run has finished; before that the facts are not whole."""
    if state.status != "finished":
        return ()
    found: list[Compared] = []
    if plan.cost is not None:
        low, likely, high = plan.cost.job_seconds
        usd = [round(float(amount), 4) for amount in plan.cost.job_usd]
        pace = plan.cost.seconds_per_step
        each = [
            Compared(what="seconds", low=low, likely=likely, high=high, actual=round(state.seconds, 3)),
            Compared(what="seconds_per_step", low=pace, high=pace, actual=round(steady(state.windows) or 0.0, 6)),
            Compared(what="usd", low=usd[0], likely=usd[1], high=usd[2], actual=float(state.spent_usd)),
        ]
        first = plan.cost.first_steps_seconds
        if first:
            actual = round(first_steps(state.windows) or 0.0, 3)
            found.append(
                Compared(what="first_steps_seconds", low=first * 0.5, likely=first, high=first * 2, actual=actual)
            )
        # the estimate was of all steps
        found += each if state.stopped_early is None else each[1:2]
    if plan.memory is not None and state.memory_gb and state.started is not None and state.started.gpu_count:
        peak = round(allocated_gb(plan.memory), 3)  # the job reports what its allocator had, not the CUDA context
        found.append(Compared(what="memory_gb", low=peak, high=peak, actual=state.memory_gb))
    return tuple(found)
