"""Percentiles of lengths that were counted."""

from collections.abc import Sequence


def percentile(counts: Sequence[tuple[int, int]], share: float) -> int:
    """The smallest length that `share` per cent of the rows do not exceed."""
    wanted, seen = sum(rows for _, rows in counts) * share / 100, 0
    for length, rows in counts:
        seen += rows
        if seen >= wanted:
            return length
    return counts[-1][0]
