"""Rows on the disk in the order that they came in, read by number: as many as the disk holds, and a block in memory.

A process that is forked reads them too: no read moves a place in the file that another reads from.
"""

import os
import pickle
import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from sftrun.rows.plain import Row

BLOCK = 2_000
Placed = tuple[str, Row]
Item = TypeVar("Item")


class ByNumber(Sequence[Item]):
    """A sequence whose items are made when they are asked for; a part of it is a list."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self._item(number) for number in range(*index.indices(len(self)))]
        return self._item(index)

    @abstractmethod
    def _item(self, number: int) -> Item: ...


class Spool(ByNumber[Placed]):
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

    def _item(self, number: int) -> Placed:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._block(number // BLOCK)[number % BLOCK]

    def _block(self, number: int) -> list[Placed]:
        if number == len(self._ends) - 1:
            return self._last
        if self._kept[0] != number:
            begin, end = self._ends[number : number + 2]
            # our own rows, written by this program a moment ago into a file that nobody else can open
            self._kept = (number, pickle.loads(os.pread(self._file, end - begin, begin)))
        return self._kept[1]


class Part(ByNumber[Item]):
    """The places of all rows, or the rows."""

    def __init__(self, spool: Spool, part: int) -> None:
        self._spool, self._part = spool, part

    def __len__(self) -> int:
        return len(self._spool)

    def _item(self, number: int) -> Any:
        return self._spool[number][self._part]


class Chosen(ByNumber[Item]):
    """Some of a sequence, by number."""

    def __init__(self, items: Sequence[Item], numbers: Sequence[int]) -> None:
        self._items, self._numbers = items, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def _item(self, number: int) -> Item:
        return self._items[self._numbers[number]]
