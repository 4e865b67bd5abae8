"""What a number of rows can show, said before a run; and how many rows a difference takes, said after one.

For a test at 5 % that finds the difference four times of five.  Of answers that are right or wrong it depends on how
many of them change; before a run nobody knows that, and a third is taken.
"""

import math
from statistics import NormalDist
from typing import Final

from sftrun.evaluate.intervals import quantile

POWER: Final = 0.8
USUAL_CHANGED: Final = 1 / 3
USUAL_DEVIATION: Final = 0.3  # of differences of a score between 0 and 1
FEWEST_CHANGED: Final = 5  # all in one direction: their mid-p, 0.5^5, is below 5 %
MOST_ROWS: Final = 10_000_000


def rows_for_shares(difference: float, changed: float) -> int | None:
    """Rows that show such a difference of shares, where such a share of rows changes; None: no number does.

    Miettinen (Biometrics 24, 1968), as in Connor (Biometrics 43, 1987).
    """
    apart, changed = abs(difference), max(changed, abs(difference))
    if apart == 0:
        return None
    alpha, beta = quantile(), NormalDist().inv_cdf(POWER)
    rows = ((alpha * math.sqrt(changed) + beta * math.sqrt(max(changed - apart * apart, 0.0))) / apart) ** 2
    return _whole(max(rows, FEWEST_CHANGED / changed))


def rows_for_means(difference: float, deviation: float) -> int | None:
    """The same for a mean of differences with such a standard deviation."""
    if difference == 0:
        return None
    spread = quantile() + NormalDist().inv_cdf(POWER)
    return _whole((spread * deviation / difference) ** 2)


def smallest_share(rows: int, changed: float = USUAL_CHANGED) -> float | None:
    """The smallest difference of shares that so many rows show; None: not even all of them changed would."""
    if rows < FEWEST_CHANGED:
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        needed = rows_for_shares(middle, changed)
        low, high = (low, middle) if needed is not None and needed <= rows else (middle, high)
    return high


def smallest_mean(rows: int, deviation: float = USUAL_DEVIATION) -> float | None:
    """The same of a mean score."""
    spread = quantile() + NormalDist().inv_cdf(POWER)
    return spread * deviation / math.sqrt(rows) if rows else None


def _whole(rows: float) -> int | None:
    return math.ceil(rows - 1e-9) if rows <= MOST_ROWS else None
