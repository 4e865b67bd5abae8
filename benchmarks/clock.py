"""Times windows of steps, alone on the machine, and drops those in which anything was compiled or captured."""

import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch._dynamo.utils import counters
from transformers import TrainerCallback
from turns import Turn

# so many steps in a row must meet nothing new before the clock is worth starting
CALM = 4
# steps a window; of slow ones, half as many
STEPS, SLOW_SECONDS = 4, 0.5
LEAST, MOST, ENOUGH_SECONDS = 5, 12, 2.0
# more windows up to the most, while the middle ones differ by more than that
STEADY = 0.1
# what the others had given the GPU before they were frozen is done by then
SETTLE_SECONDS = 0.5
# others wait meanwhile: after so long, what there is must do
LONGEST_SECONDS = 20.0


class Window(NamedTuple):
    """Seconds of some steps, of which the first is `step` (from 0)."""

    seconds: float
    step: int
    steps: int

    @property
    def pace(self) -> float:
        return self.seconds / self.steps


def middle(windows: list[Window]) -> list[Window]:
    """By pace, without the fastest and the slowest quarter: a hiccup of the machine is none of the model's."""
    aside = len(windows) // 4
    return sorted(windows, key=attrgetter("pace"))[aside : len(windows) - aside]


def _differ(windows: list[Window]) -> float:
    """By what share the slowest of sorted windows is slower than the fastest."""
    return windows[-1].pace / windows[0].pace - 1


class Clock(TrainerCallback):
    """At least `warm` steps, and more until some in a row were calm, go by among others; then it measures alone.

    `misses` counts what is new to CUDA graphs; what is new to the compiler is known here."""

    def __init__(
        self, turn: Turn, warm: int, misses: Callable[[], int] = lambda: 0, settle: float = SETTLE_SECONDS
    ) -> None:
        self.turn, self.warm, self.misses, self.settle = turn, warm, misses, settle
        self.began = self.step_began = time.perf_counter()
        self.lost = turn.lost_seconds()
        self.first_seconds = self.warm_seconds = self.alone_seconds = 0.0
        self.windows: list[Window] = []
        self.dropped = 0
        self.steps = STEPS
        self.new, self.calm = self._new(), 0
        self.alone_since: float | None = None
        self.opened: tuple[float, int] | None = None  # when, and after how many steps

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step_began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.alone_since is None:
            self._warm(state)
        elif self.opened is None:
            if time.perf_counter() - self.alone_since > self.settle:
                self._open(state)
        elif state.global_step - self.opened[1] == self.steps:
            self._close(state)
            if self._is_enough():
                control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.alone_since is not None:
            self.alone_seconds = time.perf_counter() - self.alone_since
        self.turn.over()

    def _warm(self, state: Any) -> None:
        _synchronize()
        now, new = time.perf_counter(), self._new()
        self.calm, self.new = (self.calm + 1 if new == self.new else 0), new
        if state.global_step == 1:
            self.first_seconds = now - self.began - (self.turn.lost_seconds() - self.lost)
        late = state.global_step >= 2 * self.warm + CALM
        if state.global_step >= self.warm and (self.calm >= CALM or late):
            self.steps = STEPS if now - self.step_began < SLOW_SECONDS else STEPS // 2
            self.lost = self.turn.measure() - self.lost
            self.alone_since = time.perf_counter()
            self.warm_seconds = self.alone_since - self.began - self.lost

    def _open(self, state: Any) -> None:
        _synchronize()
        self.new = self._new()
        self.opened = time.perf_counter(), state.global_step

    def _close(self, state: Any) -> None:
        assert self.opened is not None
        _synchronize()
        seconds = time.perf_counter() - self.opened[0]
        if self._new() == self.new:
            self.windows.append(Window(seconds, self.opened[1], self.steps))
        else:
            self.dropped += 1
        self._open(state)

    def _is_enough(self) -> bool:
        assert self.alone_since is not None
        clean = sum(window.seconds for window in self.windows)
        late = bool(self.windows) and time.perf_counter() - self.alone_since > LONGEST_SECONDS
        least = len(self.windows) >= LEAST and clean > ENOUGH_SECONDS
        return late or len(self.windows) >= MOST or (least and _differ(middle(self.windows)) <= STEADY)

    def _new(self) -> int:
        return int(counters["frames"]["total"]) + self.misses()


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
