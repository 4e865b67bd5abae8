"""Rows on the disk in the order that they came in, read by number: as many as the disk holds, and a block in memory.

A process that is forked reads them too: no read moves a place in the file that another reads from.
"""

import os
import pickle
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from sftrun.rows.plain import Row

BLOCK = 2_000
Placed = tuple[str, Row]
Item = TypeVar("Item")


class Spool(Sequence[Placed]):
    """(place, row) of each row.  Its file has no name, and is gone with the last process that has it open."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        weakref.finalize(self, os.close, self._file)
        self._ends, self._last, self._kept = [0], list[Placed](), (-1, list[Placed]())

    def append(self, item: Placed) -> None:
        self._last.append(item)
        if len(self._last) == BLOCK:
            data = memoryview(pickle.dumps(self._last, pickle.HIGHEST_PROTOCOL))
            self._ends.append(self._ends[-1] + len(data))
            while data:
                data = data[os.write(self._file, data) :]
            self._last = []

    def places(self) -> "Part[str]":
        return Part(self, 0)

    def rows(self) -> "Part[Row]":
        return Part(self, 1)

    def __len__(self) -> int:
        return (len(self._ends) - 1) * BLOCK + len(self._last)

    @overload
    def __getitem__(self, index: int) -> Placed: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Placed]: ...
    def __getitem__(self, index: int | slice) -> Placed | Sequence[Placed]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._block(index // BLOCK)[index % BLOCK]

    def _block(self, number: int) -> list[Placed]:
        if number == len(self._ends) - 1:
            return self._last
        if self._kept[0] != number:
            begin, end = self._ends[number : number + 2]
            # our own rows, written by this program a moment ago into a file that nobody else can open
            self._kept = (number, pickle.loads(os.pread(self._file, end - begin, begin)))
        return self._kept[1]


class Part(Sequence[Item]):
    """The places of all rows, or the rows."""

    def __init__(self, spool: Spool, part: int) -> None:
        self._spool, self._part = spool, part

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [item[self._part] for item in self._spool[index]]
        return self._spool[index][self._part]


class Chosen(Sequence[Item]):
    """Some of a sequence, by number."""

    def __init__(self, items: Sequence[Item], numbers: Sequence[int]) -> None:
        self._items, self._numbers = items, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._items[number] for number in self._numbers[index]]
        return self._items[self._numbers[index]]
