"""Watching a run: who hears its events, and the forms that need no terminal.

`Watcher` is the abstract class; `Lines` writes plain lines (a log, NO_COLOR, CI), `JsonLines` the events themselves,
`Silent` nothing.  The live view is in `terminal`, imported only where there is a terminal to draw on.
"""

import os
from abc import ABC, abstractmethod
from types import TracebackType
from typing import IO

from sftrun.contract import events
from sftrun.contract.events import AnyEvent, dump
from sftrun.contract.jobspec import MoneySpec
from sftrun.recipe.secrets import mask
from sftrun.report.show import figures
from sftrun.run.state import RunState

_LINE_SHARE = 0.02
_LINE_SECONDS = 30.0


class Watcher(ABC):
    """Hears each event with the state after it, and a tick now and then."""

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(  # noqa: B027  (most watchers leave nothing to tidy)
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was found."""

    @abstractmethod
    def heard(self, event: AnyEvent, state: RunState) -> None:
        """One event; `state` is after it."""

    def tick(self, state: RunState) -> None:  # noqa: B027
        """Time has passed."""

    @abstractmethod
    def say(self, text: str) -> None:
        """A line for the person who watches."""


class Silent(Watcher):
    """Hears and says nothing."""

    def heard(self, event: AnyEvent, state: RunState) -> None: ...

    def say(self, text: str) -> None: ...


class JsonLines(Watcher):
    """The events as they stand in the record, keys starred out; words go to `err`."""

    def __init__(self, out: IO[str], err: IO[str]) -> None:
        self._out, self._err = out, err

    def heard(self, event: AnyEvent, state: RunState) -> None:
        self._out.write(mask(dump(event)) + "\n")
        self._out.flush()

    def say(self, text: str) -> None:
        self._err.write(figures.printable(text) + "\n")
        self._err.flush()


class Lines(Watcher):
    """Plain lines, few enough for a log: a step's line for every 2 % of the way, or half a minute."""

    def __init__(self, out: IO[str], money: MoneySpec | None = None) -> None:
        self._out, self._money = out, money or MoneySpec()
        self._line_step, self._line_at = 0, 0.0

    def heard(self, event: AnyEvent, state: RunState) -> None:
        if isinstance(event, events.Step):
            self._step(event, state)
        elif line := describe(event):
            self.say(line)

    def say(self, text: str) -> None:
        self._out.write(figures.printable(text) + "\n")
        self._out.flush()

    def _step(self, event: events.Step, state: RunState) -> None:
        far = event.step - self._line_step >= event.total_steps * _LINE_SHARE
        if far or event.step < self._line_step or event.at - self._line_at >= _LINE_SECONDS:
            self._line_step, self._line_at = event.step, event.at
            self.say(f"step {event.step}/{event.total_steps}: {measures(event, state, self._money)}")


def is_plain(out: IO[str]) -> bool:
    """No terminal, or one whose owner wants no colours or can't show a moving line."""
    return not out.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") in ("dumb", "")


def measures(event: events.Step, state: RunState, money: MoneySpec) -> str:
    """A step's figures in one line."""
    parts = [f"loss {figures.loss(event.loss)}", f"lr {figures.rate(event.learning_rate)}"]
    if event.tokens_per_second:
        parts.append(f"{event.tokens_per_second:,.0f} tok/s")
    if event.memory_gb:
        parts.append(f"{event.memory_gb:.2f} GB")
    if money.usd_per_second:
        parts.append(figures.dollars(state.spent_at(event.at, money)))
    if state.seconds_left:
        parts.append(f"{figures.clock(state.seconds_left)} to go")
    return ", ".join(parts)


def describe(event: AnyEvent) -> str:
    """One line on an event that is no step; empty for what a list of samples or the summary shows."""
    match event:
        case events.Started():
            whence = f", from the checkpoint at step {event.resumed_from}" if event.resumed_from is not None else ""
            return f"attempt {event.attempt} on {event.device}{whence}"
        case events.Stage():
            return f"{stage_words(event.name)}{': ' + event.detail if event.detail else ''}"
        case events.DataReady():
            held = f", {event.eval_rows:,} held out" if event.eval_rows else ""
            dropped = f", {event.rows_dropped:,} dropped" if event.rows_dropped else ""
            tokens = f"{event.tokens:,} tokens, {figures.share(event.learnt_tokens, event.tokens)} learnt from"
            ready = ", ready beforehand" if event.was_ready else ""
            return f"{event.rows:,} rows ({event.format}){_mix(event)}{held}{dropped}, {tokens}{ready}"
        case events.ModelReady():
            part = figures.share(event.trainable_parameters, event.parameters)
            trained = f"{event.trainable_parameters:,} trained ({part})"
            return f"{event.parameters:,} parameters, {trained}, {figures.steps(event.total_steps)}"
        case events.Evaluated():
            share = f", accuracy {100 * event.accuracy:.1f} %" if event.accuracy is not None else ""
            best = ", the best so far" if event.best_step == event.step else ""
            sets = ", ".join(f"{name} {figures.loss(loss)}" for name, loss in event.losses.items())
            loss = f"{figures.loss(event.loss)}{f' ({sets})' if sets else ''}"
            return f"eval at step {event.step}: loss {loss}{share} over {event.rows:,} rows{best}"
        case events.StoppedEarly():
            return f"stopped early {figures.stopped_early(event)}"
        case events.Asking():
            from sftrun.report.show.verdict_words import power_words  # brings statistics: few runs need them

            before = f", {event.done:,} of them answered before" if event.done else ""
            shows = f"; {power_words(event.test_rows)}" if event.model == "base" else ""
            return f"{event.rows:,} rows to ask the {event.model} model{before}{shows}"
        case events.Checkpoint():
            return f"checkpoint at step {event.step}, {figures.duration(event.seconds)}"
        case events.Stopped(reason="preempted"):
            return "the machine is taken away; another one goes on from the checkpoint"
        case events.Disobeyed():
            return f"warning: {event.message}"
        case events.Note():
            return f"{'warning: ' if event.level == 'warning' else ''}{event.message}"
        case _:
            return ""


def _mix(event: events.DataReady) -> str:
    """The share of each source in the rows of an epoch."""
    parts = ", ".join(f"{100 * one.share:.1f} % {one.name}" for one in event.sources)
    return f": {parts}" if parts else ""


def stage_words(name: events.StageName) -> str:
    return {
        "start": "starting",
        "data": "reading the data",
        "model": "loading the model",
        "samples_before": "asking the base model",
        "evaluate_before": "asking the base model the test rows",
        "train": "training",
        "eval": "evaluating",
        "samples_after": "asking the tuned model",
        "save": "saving",
        "evaluate_after": "asking the tuned model the test rows",
    }[name]


def stop_words(reason: events.StopReason) -> str:
    return {
        "user": "as asked",
        "budget": "its budget is used up",
        "timeout": "its time is up",
        "preempted": "its machine was taken away",
    }[reason]
