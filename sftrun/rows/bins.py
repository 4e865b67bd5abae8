"""How rows are packed: what the job does with them, and what the plan counts on.

Best fit over the rows in a drawn order, each into the fullest bin that still has room for it.  TRL's `bfd` sorts rows
by length first, which fills bins a little better (99.8 % against 99.6 % for the census' lengths) and makes each of rows
that are alike: where length goes with what a row is about, a step then learns from a sample that is none.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], size: int, seed: int | None) -> list[list[int]]:
    """Indices of the rows of each bin; in the order given where `seed` is None.  No length is above `size`."""
    order = list(range(len(lengths)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens that still fit, bin), sorted
    for row in order:
        at = bisect_left(room, (lengths[row], -1))
        left, number = room.pop(at) if at < len(room) else (size, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(row)
        if left > lengths[row]:
            insort(room, (left - lengths[row], number))
    return bins
