"""Data files -> rows, one at a time, each with its line; what can't be read is a `Broken` with its line, and no end.

`.jsonl` is read by stretches of bytes, so that several processes share one file and none holds it whole.  Whatever the
kind of file, the same row comes out: text is UTF-8 and whole, a number that is none is absent, and the nulls by which
Parquet fills up a struct are no values.
"""

import io
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sftrun.rows.plain import Row, shown
from sftrun.rows.raw import find, packed
from sftrun.rows.raw.broken import Broken, Line
from sftrun.rows.raw.tables import csv_rows, parquet_rows

STRETCH_BYTES = 4_000_000
_BOM = b"\xef\xbb\xbf"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class Stretch(NamedTuple):
    """A part of a file: the lines that begin in these bytes.  `end` of None is the whole file."""

    file: str
    begin: int = 0
    end: int | None = None


def stretches(path: Path) -> Iterator[Stretch]:
    """The parts that a file is read by.  Raises OSError."""
    if find.kind(path) != ".jsonl" or find.packing(path) is not None or _begins_a_list(path):
        yield Stretch(str(path))
        return
    size = path.stat().st_size
    for begin in range(0, max(size, 1), STRETCH_BYTES):
        yield Stretch(str(path), begin, min(begin + STRETCH_BYTES, size))


def read(stretch: Stretch) -> Iterator[Line]:
    """(line, row) of each line, None for an empty one; counted from the stretch's own first.  Raises OSError."""
    path = Path(stretch.file)
    if stretch.end is not None:
        return _jsonl(path, stretch.begin, stretch.end)
    return _READERS.get(find.kind(path) or "", _json)(path)


def whole(path: Path) -> Iterator[Line]:
    """All lines of a file, counted from its first; at no time more than a stretch of it is held.  Raises OSError."""
    before = 0
    for stretch in stretches(path):
        line = 0
        for line, row in read(stretch):
            yield before + line, row
        before += line


def _begins_a_list(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(64).removeprefix(_BOM).lstrip().startswith(b"[")


def _jsonl(path: Path, begin: int, end: int) -> Iterator[Line]:
    at = begin
    with path.open("rb") as stream:
        if begin:
            stream.seek(begin - 1)
            at = begin - 1 + len(stream.readline())
        number = 0
        while at < end:
            line = stream.readline()
            is_first, at = at == 0, at + len(line)
            line = line.removeprefix(_BOM) if is_first else line
            number += 1
            yield number, _parsed(line, str(path), number) if line.strip() else None


def _lines(path: Path, text: bytes) -> Iterator[Line]:
    for number, line in enumerate(io.BytesIO(text.removeprefix(_BOM)), 1):
        yield number, _parsed(line, str(path), number) if line.strip() else None


def _parsed(line: bytes, file: str, number: int) -> Row | Broken:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return Broken(file, number, "syntax", f"byte {error.start + 1} is not UTF-8")
    except json.JSONDecodeError as error:
        return Broken(file, number, "syntax", _not_json(error), error.colno)
    except (ValueError, RecursionError) as error:
        return Broken(file, number, "syntax", f"not JSON: {error}")
    if not isinstance(value, dict):
        return Broken(file, number, "form", f"{shown(value)} is no object")
    half = _half_a_character(line, value)
    return value if half is None else Broken(file, number, "syntax", half[0], half[1])


def _half_a_character(line: bytes, value: object) -> tuple[str, int] | None:
    """What is wrong, and in which column, where an escape is half of a surrogate pair: no text can hold that."""
    if not _HALF.search(line):
        return None
    try:
        _encoded(value)
    except UnicodeEncodeError as error:
        code = f"\\u{ord(error.object[error.start]):04x}"
        column = line.lower().find(code.encode()) + 1
        return f"`{code}` is half of a character: no text can hold it", max(column, 1)
    except RecursionError:
        return "nested too deep", 1
    return None


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _not_json(error: json.JSONDecodeError) -> str:
    return f"not JSON at column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"


def _json(path: Path) -> Iterator[Line]:
    """A list of objects, or one object a line; under either suffix, compressed or not."""
    try:
        with packed.opened(path) as stream:
            text = stream.read()
    except packed.ERRORS as error:
        yield 1, Broken(str(path), 1, "syntax", f"not {_PACKINGS[str(find.packing(path))]}: {error}")
        return
    if not text.removeprefix(_BOM).lstrip().startswith(b"["):
        if _is_one_object(text):
            yield 1, Broken(str(path), 1, "syntax", "one object over several lines, not a list of rows")
            return
        yield from _lines(path, text)
        return
    yield from _listed(path, text)


def _listed(path: Path, text: bytes) -> Iterator[Line]:
    try:
        values = json.loads(text.removeprefix(_BOM).decode())
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        yield line, Broken(str(path), line, "syntax", f"byte {error.start + 1} of the file is not UTF-8")
        return
    except json.JSONDecodeError as error:
        # of rows that are lists themselves, each is one line's fault
        if error.msg == "Extra data" and find.kind(path) == ".jsonl":
            yield from _lines(path, text)
        else:
            yield error.lineno, Broken(str(path), error.lineno, "syntax", _not_json(error), error.colno)
        return
    except (ValueError, RecursionError) as error:
        yield 1, Broken(str(path), 1, "syntax", f"not JSON: {error}")
        return
    for number, value in enumerate(values, 1):
        yield number, _entry(path, number, value)


def _entry(path: Path, number: int, value: object) -> Row | Broken:
    if not isinstance(value, dict):
        return Broken(str(path), number, "form", f"{shown(value)} is no object")
    try:
        _encoded(value)
    except UnicodeEncodeError:
        return Broken(str(path), number, "syntax", "it holds half of a character, which no text can hold")
    return value


def _is_one_object(text: bytes) -> bool:
    """Whether the first line alone is no row, but all lines together are an object."""
    if text.strip().split(b"\n", 1)[0].rstrip().endswith(b"}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def line_at(path: Path, number: int, most: int = 4096) -> str:
    """A line of a text file, its beginning if it is long; empty where there is none."""
    with packed.opened(path) as stream:
        line = next(islice(stream, number - 1, None), b"")
    return line[:most].decode("utf-8", "replace").rstrip("\r\n")


def _text(path: Path) -> Iterator[Line]:
    """Each line that is not blank is a text."""
    try:
        with packed.opened(path) as stream:
            for number, line in enumerate(stream, 1):
                yield number, _text_row(path, number, line.removeprefix(_BOM) if number == 1 else line)
    except packed.ERRORS as error:
        yield 1, Broken(str(path), 1, "syntax", f"not {_PACKINGS[str(find.packing(path))]}: {error}")


def _text_row(path: Path, number: int, line: bytes) -> Row | Broken | None:
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        return Broken(str(path), number, "syntax", f"byte {error.start + 1} is not UTF-8")
    return {"text": text} if text.strip() else None


_PACKINGS = {".gz": "gzip", ".zst": "Zstandard"}
_READERS = {
    ".json": _json,
    ".jsonl": _json,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".txt": _text,
    ".parquet": parquet_rows,
}
