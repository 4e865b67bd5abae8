"""How fast steps were once a run had settled, and what its first steps took beyond that.  Pure.

A window is what one line of the log stands for: (attempt, steps, seconds a step).  The first ones of an attempt compile
kernels, fill caches and find sizes; a mean over all would tell of the run's length, not of its speed.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from statistics import median
from typing import Final

from sftrun.run.state import Window

# a window is one of the first steps' while it is so many times as slow as a steady one
SLOW: Final = 1.2


def steady(windows: Sequence[Window]) -> float | None:
    """Seconds of a step: the median of all windows but each attempt's first; of all, where there are no others."""
    later = [window.seconds_per_step for run in _attempts(windows) for window in run[1:]]
    return median(later or [window.seconds_per_step for window in windows]) if windows else None


def first_steps(windows: Sequence[Window]) -> float | None:
    """Seconds that the first steps of all attempts took beyond steady ones."""
    usual = steady(windows)
    if usual is None:
        return None
    return sum(
        (window.seconds_per_step - usual) * window.steps
        for run in _attempts(windows)
        for window in takewhile(lambda window: window.seconds_per_step > SLOW * usual, run)
    )


def _attempts(windows: Sequence[Window]) -> Iterator[list[Window]]:
    for _, run in groupby(windows, key=lambda window: window.attempt):
        yield list(run)
