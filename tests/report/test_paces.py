"""Steady steps and first ones are told apart."""

import pytest

from sftrun.report.paces import first_steps, steady
from sftrun.run.state import CURVE_POINTS, Window, fold
from tests.run.test_state import numbered, started, step


def windows(*paces: float, attempt: int = 1) -> list[Window]:
    return [Window(attempt, 10, pace) for pace in paces]


def test_what_compiles_is_no_steady_step() -> None:
    said = windows(2.5, 0.6, 0.5, 0.5, 0.52, 0.5)
    assert steady(said) == 0.5
    assert first_steps(said) == pytest.approx(20)


def test_each_attempt_has_first_steps_of_its_own() -> None:
    said = [*windows(2.5, 0.5, 0.5), *windows(1.5, 0.5, 0.5, attempt=2)]
    assert steady(said) == 0.5
    assert first_steps(said) == pytest.approx(30)


def test_a_slow_window_in_the_middle_is_none_of_the_first() -> None:
    assert first_steps(windows(0.5, 0.5, 3.0, 0.5)) == 0


def test_a_run_of_one_line_has_that_pace() -> None:
    assert steady(windows(2.0)) == 2.0
    assert steady([]) is None
    assert first_steps([]) is None


def test_the_windows_of_a_long_run_stay_few_and_keep_the_first() -> None:
    state = fold(numbered(started(), *(step(n) for n in range(1, 5000))))
    assert len(state.windows) <= CURVE_POINTS
    assert [window.steps for window in state.windows[:5]] == [1] * 5
    assert steady(state.windows) == 0.5
