"""Tokenised rows of several sources as one file: each as often as its weight says, spread evenly or one after another.

A mix is decided by the sources' rows, their weights and the seed, and by nothing else: the same bytes on any machine,
after any kill.  Rows that a weight's fraction takes are drawn by the seed, the same in each epoch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow  # type: ignore[import-untyped]

from sftrun.rows.labels import IGNORED

BLOCK = 20_000
REACH = 50_000  # rows that are looked at together for those that are wanted of them


@dataclass
class Part:
    """One source's files with its rows; `taken` of them go into the mix, which `tokens` and `learnt` are counted of."""

    paths: Sequence[Path]
    rows: int
    weight: float
    seed: str
    tokens: int = 0
    learnt: int = 0

    @property
    def taken(self) -> int:
        return round(self.rows * self.weight)

    def rows_at(self, begin: int, end: int) -> Any:
        """Numbers of the rows that this source gives from its `begin`-th to its `end`-th turn."""
        turns = np.arange(begin, end, dtype=np.int64)
        whole = int(self.weight) * self.rows
        if end <= whole:
            return turns % self.rows
        found = np.concatenate([turns[turns < whole] % max(self.rows, 1), self._drawn[turns[turns >= whole] - whole]])
        return found.astype(np.int64)

    @cached_property
    def _drawn(self) -> Any:
        """Of a fraction, the rows that it takes, in their order."""
        left = self.taken - int(self.weight) * self.rows
        return np.sort(np.array(Random(self.seed).sample(range(self.rows), left), dtype=np.int64))


def parts(paths: Sequence[Sequence[Path]], rows: Sequence[int], weights: Sequence[float], seed: int) -> list[Part]:
    """The sources of a mix."""
    given = enumerate(zip(paths, rows, weights, strict=True))
    return [Part(files, count, weight, f"{seed} {number}") for number, (files, count, weight) in given]


def batches(mix: Sequence[Part], *, spread: bool) -> Iterator[Any]:
    """Record batches of all rows of the mix, in its order.  `spread`: each source evenly over the whole."""
    tables = [_table(part.paths) for part in mix]
    for sources, numbers in order(mix, spread=spread):
        yield from _taken(mix, tables, sources, numbers)


def order(mix: Sequence[Part], *, spread: bool) -> Iterator[tuple[Any, Any]]:
    """(source, row) of each row of the mix, in blocks."""
    turns = [0] * len(mix)
    for block in _spread(mix) if spread else _in_turn(mix):
        rows = np.empty(len(block), dtype=np.int64)
        for number, part in enumerate(mix):
            mine = np.flatnonzero(block == number)
            rows[mine] = part.rows_at(turns[number], turns[number] + len(mine))
            turns[number] += len(mine)
        yield block, rows


def _in_turn(mix: Sequence[Part]) -> Iterator[Any]:
    for number, part in enumerate(mix):
        for begin in range(0, part.taken, BLOCK):
            yield np.full(min(BLOCK, part.taken - begin), number, dtype=np.int16)


def _spread(mix: Sequence[Part]) -> Iterator[Any]:
    """The k-th of n rows of a source stands where (k + 1/2) / n of the mix is; of equals the first source's first."""
    sizes = [part.taken for part in mix]
    blocks = max(1, -(-sum(sizes) // BLOCK))
    cuts = [[size * block // blocks for block in range(blocks + 1)] for size in sizes]
    for block in range(blocks):
        found = [(np.arange(cut[block], cut[block + 1]) + 0.5) / size for cut, size in zip(cuts, sizes, strict=True)]
        names = np.concatenate([np.full(len(at), number, dtype=np.int16) for number, at in enumerate(found)])
        yield names[np.argsort(np.concatenate(found), kind="stable")]


def _table(paths: Sequence[Path]) -> Any:
    """Mapped, not read."""
    streams = [pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all() for path in paths]
    return pyarrow.concat_tables([stream.replace_schema_metadata() for stream in streams])


def _taken(mix: Sequence[Part], tables: Sequence[Any], sources: Any, numbers: Any) -> Iterator[Any]:
    """One block: the rows of each source at once, then in their order."""
    picked, places = [], np.empty(len(sources), dtype=np.int64)
    before = 0
    for number, table in enumerate(tables):
        mine = np.flatnonzero(sources == number)
        if len(mine):
            picked.append(_rows(table, numbers[mine]))
            _count(mix[number], picked[-1])
            places[mine] = np.arange(before, before + len(mine))
            before += len(mine)
    yield from pyarrow.concat_tables(picked).combine_chunks().take(pyarrow.array(places)).to_batches()


def _rows(table: Any, numbers: Any) -> Any:
    """Rows by number; `take` copies what it is given whole, so that it is given the part that they lie in."""
    reaches = numbers // REACH
    ends = np.flatnonzero(np.diff(reaches)) + 1
    found = []
    for some in np.split(numbers, ends):
        low = int(some[0]) // REACH * REACH
        found.append(table.slice(low, REACH).take(pyarrow.array(some - low)))
    return pyarrow.concat_tables(found)


def _count(part: Part, rows: Any) -> None:
    """A row's first label never counts: nothing predicts it."""
    for labels in rows["labels"].chunks:
        values, ends = labels.flatten().to_numpy(zero_copy_only=False), labels.offsets.to_numpy()
        first = ends[:-1] - ends[0]
        part.tokens += len(values)
        part.learnt += int((values != IGNORED).sum() - (values[first[np.diff(ends) > 0]] != IGNORED).sum())
