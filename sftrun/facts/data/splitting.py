"""Rows into training and evaluation: drawn by a seed, whole groups at a time, the same on every machine."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from sftrun.errors import SftrunError, UsageError
from sftrun.facts.data import cleaning
from sftrun.facts.data.tally import How
from sftrun.rows.plain import Row
from sftrun.rows.raw.broken import Broken
from sftrun.rows.raw.find import Files
from sftrun.rows.raw.read import whole


class Grouped(NamedTuple):
    """A row as it stands in its file, and what it must not be torn from: rows with one of its keys."""

    row: Row
    keys: tuple[bytes, ...]


def rows(files: Files, how: How, by: str | None = None) -> Iterator[Grouped]:
    """All rows; those that say the same have a key in common, and with `by` those of one value in that column."""
    for file in files.paths:
        for line, row in whole(Path(file)):
            if isinstance(row, Broken):
                raise _refused(f"{file}:{line}: {row.message}")
            if row is not None:
                yield Grouped(row, tuple(_keys(row, how, by, f"{file}:{line}")))


def chosen(
    files: Files, how: How, share: float, seed: int, by: str | None = None, tell: Callable[[int], None] = lambda _: None
) -> list[bool]:
    """Of each row whether it goes to evaluation: about that share, at least one row on either side."""
    groups, keys = _Groups(), list[bytes]()
    for number, one in enumerate(rows(files, how, by), 1):
        groups.join(one.keys)
        keys.append(one.keys[0])
        tell(number)
    found = [groups.of(key) for key in keys]
    taken = _drawn(Counter(found), share, seed)
    return [group in taken for group in found]


class _Groups:
    """Sets of keys that are joined; each is named by its first."""

    def __init__(self) -> None:
        self._above: dict[bytes, bytes] = {}

    def of(self, key: bytes) -> bytes:
        while (above := self._above.setdefault(key, key)) != key:
            self._above[key] = key = self._above[above]
        return key

    def join(self, keys: Sequence[bytes]) -> None:
        first = self.of(keys[0])
        for other in keys[1:]:
            self._above[self.of(other)] = first


def _drawn(sizes: Counter[bytes], share: float, seed: int) -> set[bytes]:
    """Groups in the seed's order, as long as they fit; one of the smallest where none does."""
    if len(sizes) < 2:
        raise SftrunError("all rows are one group, which can't be split", help="leave out `--by`, or add rows")
    order = sorted(sizes, key=lambda group: blake2b(group, key=str(seed).encode(), digest_size=16).digest())
    wanted, held, taken = max(1, round(sizes.total() * share)), 0, set[bytes]()
    for group in order:
        if held + sizes[group] <= wanted and len(taken) < len(sizes) - 1:
            taken.add(group)
            held += sizes[group]
    return taken or {min(order, key=lambda group: sizes[group])}


def _keys(row: Row, how: How, by: str | None, place: str) -> Iterator[bytes]:
    read = how.reading.row(row)
    wrong = how.reading.fault(read, how.rules)
    if wrong is not None:
        raise _refused(f"{place}: {wrong}")
    yield cleaning.key(read, how)
    if by is None:
        return
    if by not in row:
        raise UsageError(f"{place}: no column `{by}`", help=f"the row has {', '.join(row)}")
    yield blake2b(json.dumps([by, row[by]], sort_keys=True, default=str).encode(), digest_size=16).digest()


def _refused(message: str) -> SftrunError:
    return SftrunError(message, help="run `sftrun data clean` first")
