"""Which rows of a source are worth keeping: what is broken, empty or there already is named, and goes.

Near duplicates are found by MinHash (rensa, the extra `clean`): shingles of three words, compared by their estimated
Jaccard similarity.  The first of equals stays.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from sftrun.errors import SftrunError
from sftrun.facts.data.tally import How, content, is_blank
from sftrun.rows import shape, turns
from sftrun.rows.plain import Row
from sftrun.rows.raw.broken import Broken
from sftrun.rows.raw.find import Files
from sftrun.rows.raw.read import whole

LIBRARY: Final = "rensa"
Reason = Literal["broken", "misshapen", "blank", "duplicate", "near_duplicate", "in_eval", "near_eval"]
_PERMUTATIONS, _SHINGLE, _SEED = 128, 3, 42
_WORD = re.compile(r"\w+")


class Place(NamedTuple):
    """A row's file and line (of .json and .parquet: the entry's number)."""

    file: str
    line: int

    def beside(self, other: "Place") -> str:
        """In words, for somebody who looks at the other."""
        return f"line {self.line}" + ("" if self.file == other.file else f" of {self.file}")


class Judged(NamedTuple):
    """A row as it stands in its file, where, and why it is to go; None where it stays."""

    place: Place
    row: Row | None
    reason: Reason | None = None
    why: str = ""


class Same(NamedTuple):
    """An earlier row that says the same, or nearly so."""

    place: Place
    is_eval: bool
    similarity: float | None = None  # None: to the letter


class Seen:
    """Rows that were looked at, to know others by; from the similarity `near` on they are the same."""

    def __init__(self, near: float | None = None) -> None:
        self._exact: dict[bytes, tuple[Place, bool]] = {}
        self._near = None if near is None else _Near(near)

    def told(self, row: Row, how: How) -> "_Told":
        """What a row under our names says, as rows are compared."""
        exact = _digest(content(row, shape.pair(row, how.form, how.rules), how))
        return _Told(exact, None if self._near is None else self._near.signature(_said(row, how)))

    def find(self, told: "_Told") -> Same | None:
        """An earlier one like it."""
        exact = self._exact.get(told.digest)
        if exact is not None:
            return Same(*exact)
        return self._near.find(told.signature) if self._near is not None else None

    def add(self, told: "_Told", place: Place, *, is_eval: bool = False) -> None:
        """A row to be known from now on."""
        self._exact.setdefault(told.digest, (place, is_eval))
        if self._near is not None:
            self._near.add(told.signature, place, is_eval)


class _Told(NamedTuple):
    digest: bytes
    signature: Any


def judged(files: Files, how: How, seen: Seen) -> Iterator[Judged]:
    """Each row of a source, with why it is to go; those that stay are added to `seen`."""
    for place, row in _rows(files):
        if isinstance(row, Broken):
            yield Judged(place, None, "broken" if row.kind == "syntax" else "misshapen", row.message)
            continue
        read = how.reading.row(row)
        wrong = how.reading.fault(read, how.rules)
        yield Judged(place, row, "misshapen", wrong) if wrong is not None else _judged(place, row, read, how, seen)


def remember(files: Files, how: How, seen: Seen) -> None:
    """Rows to be kept apart from: those of the eval data."""
    for place, row in _rows(files):
        read = how.reading.row(row) if isinstance(row, dict) else None
        if read is not None and how.reading.fault(read, how.rules) is None:
            seen.add(seen.told(read, how), place, is_eval=True)


def key(read: Row, how: How) -> bytes:
    """What a row under our names says, in short: rows of one key are the same."""
    return _digest(content(read, shape.pair(read, how.form, how.rules), how))


def _judged(place: Place, row: Row, read: Row, how: How, seen: Seen) -> Judged:
    pair = shape.pair(read, how.form, how.rules)
    if is_blank(read, pair, how):
        return Judged(place, row, "blank", "nothing in it is to be learnt")
    told = seen.told(read, how)
    same = seen.find(told)
    if same is None:
        seen.add(told, place)
        return Judged(place, row)
    kinds: tuple[Reason, Reason] = ("in_eval", "near_eval") if same.is_eval else ("duplicate", "near_duplicate")
    where = f"{same.place.beside(place)}{' of the eval data' if same.is_eval else ''}"
    if same.similarity is None:
        return Judged(place, row, kinds[0], f"the same as {where}")
    return Judged(place, row, kinds[1], f"{same.similarity:.0%} the same as {where}")


def _rows(files: Files) -> Iterator[tuple[Place, Row | Broken]]:
    for file in files.paths:
        for line, row in whole(Path(file)):
            if row is not None:
                yield Place(file, line), row


def _said(row: Row, how: How) -> str:
    """A row's own words, without what a template lays around them."""
    if shape.is_conversation(row, how.form, how.rules):
        return "\n".join(turns.text_of(turn["content"]) for turn in shape.conversation(row, how.form)[0].messages)
    read = shape.read_columns(how.form, how.rules)
    return "\n".join(text for column in read if isinstance(text := row.get(column), str))


def _digest(told: bytes) -> bytes:
    return blake2b(told, digest_size=16).digest()


class _Near:
    """MinHash signatures of rows, by bands, so that each row is compared with few."""

    def __init__(self, least: float) -> None:
        if find_spec(LIBRARY) is None:
            raise SftrunError(f"near duplicates need the package {LIBRARY}", help="run `pip install 'sftrun[clean]'`")
        self._library: Any = import_module(LIBRARY)
        self._least = least
        self._index = self._library.RMinHashLSH(least, _PERMUTATIONS, _bands(least))
        self._rows: list[tuple[Any, Place, bool]] = []

    def find(self, made: Any) -> Same | None:
        likely = ((made.jaccard(self._rows[at][0]), at) for at in sorted(self._index.query(made)))
        best = max(likely, default=None, key=lambda found: found[0])
        if best is None or best[0] < self._least:
            return None
        _, place, is_eval = self._rows[best[1]]
        return Same(place, is_eval, best[0])

    def add(self, made: Any, place: Place, is_eval: bool) -> None:
        self._index.insert(len(self._rows), made)
        self._rows.append((made, place, is_eval))

    def signature(self, said: str) -> Any:
        """Of a text."""
        made = self._library.RMinHash(_PERMUTATIONS, _SEED)
        made.update(sorted(_shingles(said)))
        return made


def _shingles(text: str) -> Iterable[str]:
    """Three words in a row; of a script without spaces between words three letters."""
    words = _WORD.findall(text.lower())
    parts: list[str] = words if len(words) > _SHINGLE and len(text) / len(words) < 20 else list(text)
    return {" ".join(parts[at : at + _SHINGLE]) for at in range(max(len(parts) - _SHINGLE + 1, 1))}


def _bands(least: float) -> int:
    """So many bands that rows somewhat less alike than asked for still meet in one."""
    found = (bands for bands in (8, 16, 32, 64) if (1 / bands) ** (bands / _PERMUTATIONS) <= least - 0.1)
    return next(found, 64)
