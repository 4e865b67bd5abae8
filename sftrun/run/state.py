"""Events -> RunState: a fold, and the only thing that knows how a run stands.

The state is small whatever the run's length: curves are thinned by halves when they outgrow their cap, so that folding
ten thousand events keeps memory flat.  An event heard twice changes nothing (its `seq` is not above the last).
A new attempt takes back what came after the checkpoint that it goes on from.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from sftrun.contract.events import (
    AnyEvent,
    Checkpoint,
    DataReady,
    Evaluated,
    Failed,
    Finished,
    ModelReady,
    Note,
    Sample,
    Stage,
    StageName,
    Started,
    Step,
    Stopped,
    StoppedEarly,
)
from sftrun.contract.jobspec import MoneySpec

Status = Literal["starting", "running", "finished", "stopped", "failed", "lost"]
Curve = tuple[tuple[int, float], ...]
ENDED: frozenset[Status] = frozenset({"finished", "stopped", "failed"})
CURVE_POINTS = 256
FIRST_WINDOWS = 32
NOTES_KEPT = 50


class Window(NamedTuple):
    """The steps between two lines of the log."""

    attempt: int
    steps: int
    seconds_per_step: float


@dataclass(frozen=True)
class Answer:
    """One prompt, answered by base and tuned model; None where it has not been (yet)."""

    prompt: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class RunState:
    """How a run stands.  Times are seconds since 1970.

    `seconds_before` is the length of earlier attempts, `attempt_at` the first word of the present one, `active_at` its
    last one so far (a note may be the supervisor's, said when an attempt is long over).  `seconds_counted` is the
    length that `spent_usd` was said for, `step_seconds` the time of all steps that were taken, `wait_seconds` the part
    of it that they waited for data.  Of an evaluation's `asked` rows the present model has `answered` so many.
    """

    status: Status = "starting"
    seq: int = 0
    at: float = 0.0
    started: Started | None = None
    began_at: float = 0.0
    seconds_before: float = 0.0
    attempt_at: float = 0.0
    active_at: float = 0.0
    stage: StageName | None = None
    stage_since: float = 0.0
    stage_seconds: dict[StageName, float] = field(default_factory=dict)
    data: DataReady | None = None
    model: ModelReady | None = None
    first: Step | None = None
    last: Step | None = None
    curve: Curve = ()
    stride: int = 1
    steps_logged: int = 0
    seconds_per_step: float = 0.0
    windows: tuple[Window, ...] = ()
    step_seconds: float = 0.0
    wait_seconds: float = 0.0
    evals: Curve = ()
    eval_sets: dict[str, Curve] = field(default_factory=dict)
    best_step: int | None = None
    stopped_early: StoppedEarly | None = None
    answers: tuple[Answer, ...] = ()
    asked: int = 0
    answered: int = 0
    checkpoint: Checkpoint | None = None
    checkpoints: int = 0
    notes: tuple[Note, ...] = ()
    memory_gb: float = 0.0
    spent_usd: Decimal = Decimal(0)
    seconds_counted: float = 0.0
    outcome: Finished | Stopped | Failed | None = None

    @property
    def attempt(self) -> int:
        return self.started.attempt if self.started else 0

    @property
    def step(self) -> int:
        """Optimiser steps that stand."""
        if isinstance(self.outcome, Finished | Stopped):
            return self.outcome.step
        if self.last is not None:
            return self.last.step
        return (self.started.resumed_from or 0) if self.started else 0

    @property
    def total_steps(self) -> int | None:
        if self.last is not None:
            return self.last.total_steps
        return self.model.total_steps if self.model else None

    @property
    def data_wait_share(self) -> float | None:
        """The part of the training that waited for data."""
        return self.wait_seconds / self.step_seconds if self.step_seconds else None

    @property
    def seconds(self) -> float:
        """Length of all attempts, up to the last event."""
        return self.seconds_at(self.active_at)

    @property
    def seconds_left(self) -> float | None:
        """Of the training, at the pace of the last steps."""
        if self.total_steps is None or not self.seconds_per_step:
            return None
        return (self.total_steps - self.step) * self.seconds_per_step

    def seconds_at(self, now: float) -> float:
        """Length of all attempts if the present one went on until `now`."""
        return self.seconds_before + (max(now - self.attempt_at, 0.0) if self.attempt_at else 0.0)

    def spent_at(self, now: float, money: MoneySpec) -> Decimal:
        """What the run has cost until `now`: its own last word, and the time since then at the present price."""
        if self.outcome is not None:
            return self.spent_usd
        since = max(self.seconds_at(now) - self.seconds_counted, 0.0)
        rate = money.rate(self.started.device if self.started else None)
        return self.spent_usd + rate * Decimal(str(round(since, 3)))


def fold(events: Iterable[AnyEvent], state: RunState | None = None) -> RunState:
    """The state after `events`."""
    state = state or RunState()
    for event in events:
        state = advance(state, event)
    return state


def advance(state: RunState, event: AnyEvent) -> RunState:
    """The state after one more event."""
    if event.seq <= state.seq:
        return state
    then = _HANDLERS[event.kind](state, event)
    return replace(then, seq=event.seq, at=event.at, active_at=then.active_at if event.kind == "note" else event.at)


def seen(state: RunState, *, is_held: bool) -> RunState:
    """The state as it is now, knowing whether a supervisor holds the run's lock."""
    if is_held:
        return replace(state, status="starting") if state.status in ENDED else state
    return state if state.status in ENDED else replace(state, status="lost")


def _started(state: RunState, event: Started) -> RunState:
    back_to = event.resumed_from or 0
    # the supervisor says that it starts before the worker, which has libraries to load, says that it has started
    state = state if state.stage == "start" else _new_attempt(state, event.at)
    return replace(
        state,
        status="running",
        started=event,
        began_at=state.began_at or event.at,
        curve=_until(state.curve, back_to),
        evals=_until(state.evals, back_to),
        eval_sets={name: _until(curve, back_to) for name, curve in state.eval_sets.items()},
        best_step=state.best_step if state.best_step is not None and state.best_step <= back_to else None,
        stopped_early=state.stopped_early if state.stopped_early and state.stopped_early.step <= back_to else None,
        first=state.first if state.first and state.first.step <= back_to else None,
        last=state.last if state.last and state.last.step <= back_to else None,
    )


def _new_attempt(state: RunState, at: float) -> RunState:
    """Close what an earlier attempt has left open, at its last word: the time in between is nobody's."""
    closed = _close_stage(state, state.active_at)
    return replace(closed, status="starting", seconds_before=state.seconds, attempt_at=at, active_at=at, outcome=None)


def _stage(state: RunState, event: Stage) -> RunState:
    state = _new_attempt(state, event.at) if event.name == "start" else state
    return replace(_close_stage(state, event.at), stage=event.name, stage_since=event.at)


def _close_stage(state: RunState, at: float) -> RunState:
    if state.stage is None:
        return state
    seconds = state.stage_seconds.get(state.stage, 0.0) + max(at - state.stage_since, 0.0)
    return replace(state, stage_seconds={**state.stage_seconds, state.stage: seconds}, stage=None)


def _step(state: RunState, event: Step) -> RunState:
    curve, stride = state.curve, state.stride
    if state.steps_logged % stride == 0:
        curve = (*curve, (event.step, event.loss))
    if len(curve) > CURVE_POINTS:
        curve, stride = curve[::2], stride * 2
    seconds = max(event.step - state.step, 0) * event.seconds_per_step
    return replace(
        state,
        first=state.first or event,
        last=event,
        curve=curve,
        stride=stride,
        steps_logged=state.steps_logged + 1,
        seconds_per_step=_smoothed(state.seconds_per_step, event.seconds_per_step),
        windows=_windows(state, event),
        step_seconds=state.step_seconds + seconds,
        wait_seconds=state.wait_seconds + seconds * event.data_wait_share,
        memory_gb=max(state.memory_gb, event.memory_gb),
    )


def _windows(state: RunState, event: Step) -> tuple[Window, ...]:
    """With one more; of many every second is kept, but of the first, which tell how a run settled."""
    steps = event.step - state.step
    if steps <= 0 or not event.seconds_per_step:
        return state.windows
    windows = (*state.windows, Window(state.attempt, steps, event.seconds_per_step))
    if len(windows) <= CURVE_POINTS:
        return windows
    return (*windows[:FIRST_WINDOWS], *windows[FIRST_WINDOWS::2])


def _smoothed(old: float, new: float) -> float:
    return old + 0.2 * (new - old) if old else new


def _evaluated(state: RunState, event: Evaluated) -> RunState:
    state = state if event.best_step is None else replace(state, best_step=event.best_step)
    thinned = _longer(state.evals, event.step, event.loss)
    sets = {name: _longer(state.eval_sets.get(name, ()), event.step, loss) for name, loss in event.losses.items()}
    state = replace(state, eval_sets=sets)
    if state.stage != "train" or not event.seconds:
        return replace(state, evals=thinned)
    # an evaluation between steps is none of the training's time
    spent = {**state.stage_seconds, "eval": state.stage_seconds.get("eval", 0.0) + event.seconds}
    return replace(state, evals=thinned, stage_seconds=spent, stage_since=state.stage_since + event.seconds)


def _longer(evals: Curve, step: int, loss: float) -> Curve:
    """The first and the last evaluation are what a report compares, so both ends stay."""
    evals = (*evals, (step, loss))
    return (*evals[:-1:2], evals[-1]) if len(evals) > CURVE_POINTS else evals


def _sample(state: RunState, event: Sample) -> RunState:
    missing = max(event.index + 1 - len(state.answers), 0)
    answers = [*state.answers, *(Answer("") for _ in range(missing))]
    old = replace(answers[event.index], prompt=event.prompt)
    answers[event.index] = replace(old, before=event.text) if event.when == "before" else replace(old, after=event.text)
    return replace(state, answers=tuple(answers))


def _ended(state: RunState, event: Finished | Stopped | Failed) -> RunState:
    state = replace(
        _close_stage(state, event.at),
        outcome=event,
        status=event.kind,
        spent_usd=event.spent_usd,
        seconds_counted=state.seconds_at(event.at),
    )
    return replace(state, memory_gb=max(state.memory_gb, event.memory_gb)) if isinstance(event, Finished) else state


def _noted(state: RunState, note: Note) -> RunState:
    return replace(state, notes=(*state.notes, note)[-NOTES_KEPT:])


def _until(curve: Curve, step: int) -> Curve:
    return tuple(point for point in curve if point[0] <= step)


_HANDLERS: dict[str, Callable[[RunState, Any], RunState]] = {
    "started": _started,
    "stage": _stage,
    "data_ready": lambda state, event: replace(state, data=event),
    "model_ready": lambda state, event: replace(state, model=event),
    "step": _step,
    "eval": _evaluated,
    "stopped_early": lambda state, event: replace(state, stopped_early=event),
    "sample": _sample,
    "asking": lambda state, event: replace(state, asked=event.rows, answered=event.done),
    "answer": lambda state, event: replace(state, answered=state.answered + 1),
    "checkpoint": lambda state, event: replace(state, checkpoint=event, checkpoints=state.checkpoints + 1),
    "disobeyed": lambda state, event: _noted(state, Note(level="warning", message=event.message)),
    "steps_ready": lambda state, event: state,
    "note": lambda state, event: _noted(state, event),
    "finished": _ended,
    "stopped": _ended,
    "failed": _ended,
}
