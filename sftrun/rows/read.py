"""Data files -> rows, one at a time, each with its line; what can't be read is a `Broken` with its line, and no end.

`.jsonl` is read by stretches of bytes, so that several processes share one file and none holds it whole.  Whatever the
kind of file, the same row comes out: text is UTF-8 and whole, a number that is none is absent, and the nulls by which
Parquet fills up a struct are no values.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from sftrun.rows import find
from sftrun.rows.plain import Row, shown

STRETCH_BYTES = 4_000_000
_BOM = b"\xef\xbb\xbf"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_DELIMITERS = ",;\t|"


class Broken(NamedTuple):
    """A line that holds no row, and why.  `line` counts from 1; of .json and .parquet it is the entry's number."""

    file: str
    line: int
    kind: Literal["syntax", "form"]
    message: str
    column: int = 1


class Stretch(NamedTuple):
    """A part of a file: the lines that begin in these bytes.  `end` of None is the whole file."""

    file: str
    begin: int = 0
    end: int | None = None


Line = tuple[int, Row | Broken | None]


def stretches(path: Path) -> Iterator[Stretch]:
    """The parts that a file is read by.  Raises OSError."""
    if find.kind(path) != ".jsonl" or find.is_packed(path) or _begins_a_list(path):
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


def _open(path: Path) -> IO[bytes]:
    opener: Any = gzip.open if find.is_packed(path) else open
    stream: IO[bytes] = opener(path, "rb")
    return stream


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
        with _open(path) as stream:
            text = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield 1, Broken(str(path), 1, "syntax", f"not gzip: {error}")
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


def _csv(path: Path) -> Iterator[Line]:
    csv.field_size_limit(2**31 - 1)
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
        reader: csv.DictReader[str] | None = None
        try:
            first = stream.readline()
            reader = csv.DictReader(_again(first, stream), delimiter=_delimiter(first))
            twice = _doubled(reader.fieldnames or ())
            if twice is not None:
                yield 1, Broken(str(path), 1, "syntax", f"the column `{twice}` stands twice in the header")
                return
            for row in reader:
                if None in row:
                    message = "more fields than the header has: quote those that hold commas"
                    yield reader.line_num, Broken(str(path), reader.line_num, "syntax", message)
                else:
                    yield reader.line_num, dict(row)
        except UnicodeDecodeError:
            line = _not_utf8(path)
            yield line, Broken(str(path), line, "syntax", "not UTF-8")
        except (csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
            line = reader.line_num if reader is not None else 0
            yield line, Broken(str(path), line + 1, "syntax", f"not CSV: {error}")


def _again(first: str, rest: IO[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """A comma, unless the header has none and another sign that divides tables."""
    return next((sign for sign in _DELIMITERS if sign in header), ",")


def _doubled(names: Any) -> str | None:
    return next((name for number, name in enumerate(names) if name in names[:number]), None)


def _not_utf8(path: Path) -> int:
    """The first line that is no UTF-8; a decoder reads ahead, and can't say."""
    with _open(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _parquet(path: Path) -> Iterator[Line]:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    number = 0
    try:
        file = parquet.ParquetFile(path)
        twice = _doubled(file.schema_arrow.names)
        if twice is not None:
            yield 1, Broken(str(path), 1, "syntax", f"it has two columns `{twice}`")
            return
        for batch in file.iter_batches(batch_size=2000):
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield number, without_fillers(row)
    except (pyarrow.ArrowException, OSError) as error:
        yield 1, Broken(str(path), 1, "syntax", f"not Parquet: {str(error).splitlines()[0]}")
    except (ValueError, OverflowError, KeyError) as error:
        yield (
            number + 1,
            Broken(str(path), number + 1, "syntax", f"a value can't be read: {str(error).splitlines()[0]}"),
        )


def without_fillers(row: Row) -> Row:
    """A row of Arrow's without the nulls that its structs are filled up with: a field that one row has, all have."""
    return {column: _pruned(value) for column, value in row.items()}


def _pruned(value: object) -> object:
    if isinstance(value, dict):
        return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_pruned(inner) for inner in value]
    return value


def line_at(path: Path, number: int, most: int = 4096) -> str:
    """A line of a text file, its beginning if it is long; empty where there is none."""
    with _open(path) as stream:
        line = next(islice(stream, number - 1, None), b"")
    return line[:most].decode("utf-8", "replace").rstrip("\r\n")


_READERS = {".json": _json, ".jsonl": _json, ".csv": _csv, ".parquet": _parquet}
