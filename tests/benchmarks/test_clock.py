"""Windows of steps in which something new was compiled or captured don't count."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

FOLDER = str(Path(__file__).parents[2] / "benchmarks")
ARGUMENTS = TrainingArguments(use_cpu=True)
WARM = 2


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One to whom every question was answered already."""
    monkeypatch.syspath_prepend(FOLDER)
    from turns import Turn

    ours, theirs = socket.socketpair()
    ours.sendall(b"0.0\n" * 100)
    found = Turn(theirs.detach())
    with ours, found.line, found.answers:
        yield found


def test_a_window_with_a_batch_that_no_graph_replayed_is_dropped(turn: Any) -> None:
    misses = [0]

    def step(number: int) -> None:
        misses[0] += number == 14

    clock = _run(turn, step, lambda: misses[0])
    assert (clock.dropped, len(clock.windows)) == (1, 12)
    assert all(14 not in range(window.step + 1, window.step + window.steps + 1) for window in clock.windows)


def test_a_window_in_which_something_was_compiled_is_dropped(turn: Any) -> None:
    @torch.compile(backend="eager", dynamic=False)
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    clock = _run(turn, lambda number: doubled(torch.ones(3 if number < 14 else 4)))
    assert (clock.dropped, len(clock.windows)) == (1, 12)


def test_steps_are_warm_until_nothing_was_new_for_a_while(turn: Any) -> None:
    misses = [0]

    def step(number: int) -> None:
        misses[0] += number < 4

    clock = _run(turn, step, lambda: misses[0])
    assert clock.windows[0].step >= 3 + 4
    assert clock.dropped == 0


@pytest.mark.parametrize(("differ", "windows"), [(float("inf"), 5), (-1.0, 12)])
def test_windows_that_differ_ask_for_more(
    turn: Any, differ: float, windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import clock

    monkeypatch.setattr(clock, "ENOUGH_SECONDS", 0.0)
    monkeypatch.setattr(clock, "STEADY", differ)
    assert len(_run(turn, lambda _: None).windows) == windows


def _run(turn: Any, step: Callable[[int], object], misses: Callable[[], int] = lambda: 0) -> Any:
    from clock import Clock

    clock = Clock(turn, WARM, misses, settle=0.0)
    state, control = TrainerState(), TrainerControl()
    while not control.should_training_stop:
        clock.on_step_begin(ARGUMENTS, state, control)
        state.global_step += 1
        step(state.global_step)
        clock.on_step_end(ARGUMENTS, state, control)
    return clock
