"""Intervals of 95 % for shares, and for the difference of two models on the same rows.

How often they hold what they claim is simulated in `benchmarks/coverage.py`; docs/evaluation.md has its table.
"""

import math
import random
from collections.abc import Callable, Sequence
from operator import mul
from statistics import NormalDist
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
SEED: Final = 20261201
BOOTSTRAP_ROWS: Final = 1000  # above it the mean is normal enough, and drawing costs seconds
LEAST_ERROR: Final = 1 / 3  # a resample of equal differences would be infinitely sure
FEWEST_ROWS: Final = 10  # below it nothing is known of a mean


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether no difference at all is among what may be."""
        return self.low <= 0 <= self.high


class Mean(NamedTuple):
    """A mean difference: its interval, and how likely one as far from zero is if there is none."""

    interval: Interval
    p: float


def quantile(confidence: float = CONFIDENCE) -> float:
    """Standard deviations on either side of a normal mean that hold such a share: 1.96 for 95 %."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_quantile(freedom: int) -> float:
    """The same of Student's distribution, by its expansion (Abramowitz and Stegun 26.7.5): to 1e-4 from 9 on."""
    z = quantile()
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / math.pow(freedom, power) for power, term in enumerate(terms, 1))


def wilson(right: int, rows: int) -> Interval:
    """Of a share: Wilson's score interval (1927)."""
    if rows == 0:
        return Interval(0.0, 1.0)
    z, share = quantile(), right / rows
    scale = 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Interval(low if right else 0.0, high if right < rows else 1.0)  # exactly, whatever the rounding


def paired_shares(gained: int, lost: int, rows: int) -> Interval:
    """Of the difference of two shares on the same rows: Tango's score interval (Statistics in Medicine 17, 1998).

    `gained` rows are right for the second model alone, `lost` for the first alone.
    """
    if rows == 0:
        return Interval(-1.0, 1.0)
    z, found = quantile(), (gained - lost) / rows
    low = _root(lambda at: _tango(gained, lost, rows, at) - z, -1.0, found)
    high = _root(lambda at: _tango(gained, lost, rows, at) + z, found, 1.0)
    return Interval(low, high)


def _tango(gained: int, lost: int, rows: int, at: float) -> float:
    """The score of the hypothesis that the difference is `at`; it falls as `at` rises."""
    a, b = 2 * rows, -gained - lost + (2 * rows - gained + lost) * at
    c = -lost * at * (1 - at)
    likely = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = rows * (2 * likely + at * (1 - at))
    above = gained - lost - rows * at
    if variance <= 0:
        return math.copysign(math.inf, above) if above else 0.0
    return above / math.sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def paired_means(differences: Sequence[float], *, widest: float = math.inf, seed: int = SEED) -> Mean:
    """Of a mean difference: the studentised bootstrap over rows (Efron and Tibshirani 1993, chapter 12) or Student's
    interval, the wider of the two at each end: where few rows change the first holds too little, where few gain much
    the second.

    `widest` is the largest difference that can be: 1 of shares.  The same differences and seed give the same interval.
    """
    rows = len(differences)
    nothing = Mean(Interval(-widest, widest), 1.0)
    if rows < FEWEST_ROWS:
        return nothing
    mean, error = _moments(differences)
    if error == 0:
        return Mean(Interval(mean, mean), 1.0 if mean == 0 else 0.0)
    if rows > BOOTSTRAP_ROWS:
        z = quantile()
        return Mean(_clipped(mean - z * error, mean + z * error, widest), math.erfc(abs(mean / error) / math.sqrt(2)))
    drawn = _drawn(differences, mean, error, seed)
    tail = (1 - CONFIDENCE) / 2
    student = student_quantile(rows - 1)
    low = mean - max(at_share(drawn, 1 - tail), student) * error
    high = mean - min(at_share(drawn, tail), -student) * error
    return Mean(_clipped(low, high, widest), _flipped(differences, seed))


def at_share(ordered: Sequence[float], share: float) -> float:
    """The value below which such a share of them lies, between two of them by the line (as numpy's default)."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """(mean, its standard error)"""
    rows = len(values)
    mean = math.fsum(values) / rows
    square = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(square / (rows - 1) / rows) if square > 1e-24 * rows else 0.0


def _drawn(differences: Sequence[float], mean: float, error: float, seed: int) -> list[float]:
    """Student's t of each resample, in rising order; none is taken for surer than `LEAST_ERROR` of the rows' own."""
    source, rows, found = random.Random(seed), len(differences), list[float]()
    centred, least = [value - mean for value in differences], LEAST_ERROR * error
    for _ in range(RESAMPLES):
        picked = source.choices(centred, k=rows)
        total = sum(picked)
        square = sum([value * value for value in picked]) - total * total / rows
        found.append(total / rows / max(math.sqrt(max(square, 0.0) / (rows - 1) / rows), least))
    return sorted(found)


def _flipped(differences: Sequence[float], seed: int) -> float:
    """The sign-flip test: how often chance takes the sum as far from zero, if base and tuned could be exchanged."""
    source, changed = random.Random(seed), [value for value in differences if value]
    least = abs(math.fsum(changed)) * (1 - 1e-9)
    sums = (sum(map(mul, changed, source.choices((-1, 1), k=len(changed)))) for _ in range(RESAMPLES))
    far: int = sum(abs(one) >= least for one in sums)
    return (1 + far) / (1 + RESAMPLES)


def _clipped(low: float, high: float, widest: float) -> Interval:
    return Interval(max(low, -widest), min(high, widest))
