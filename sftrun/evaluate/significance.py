"""How likely a difference as large is if there is none, and what becomes of that over many groups."""

import math
from collections.abc import Sequence
from typing import Final

LEVEL: Final = 0.05


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test of rows that changed (1947): two-sided, by the binomial distribution."""
    changed, fewer = gained + lost, min(gained, lost)
    if 2 * fewer == changed:
        return 1.0
    term = total = 1
    for number in range(fewer):
        term = term * (changed - number) // (number + 1)
        total += term
    return min(1.0, 2 * _ratio(total, changed))


def mcnemar_mid(gained: int, lost: int) -> float:
    """The same with half of what was seen counted (Lancaster's mid-p): the exact one calls too little.

    Fagerland, Lydersen and Laake (BMC Medical Research Methodology 13, 2013) recommend it.
    """
    changed, fewer = gained + lost, min(gained, lost)
    if 2 * fewer == changed:
        return 1.0
    return mcnemar(gained, lost) - _ratio(math.comb(changed, fewer), changed)


def _ratio(total: int, changed: int) -> float:
    """total / 2^changed, also where neither fits a float."""
    shift = max(total.bit_length() - 64, 0)
    return math.ldexp(float(total >> shift), shift - changed)


def holm(values: Sequence[float]) -> list[float]:
    """Each p as it counts among all of them (Holm 1979): the chance that any is called wrongly stays at the level."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    adjusted, so_far = [1.0] * len(values), 0.0
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = so_far
    return adjusted
