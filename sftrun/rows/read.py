"""Data files -> rows, one at a time, each with its line; what can't be read is a `Broken` with its line, and no end.

`.jsonl` is read by stretches of bytes, so that several processes share one file and none holds it whole.
"""

import csv
import json
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

Row = dict[str, Any]
STRETCH_BYTES = 4_000_000


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


def stretches(path: Path) -> Iterator[Stretch]:
    """The parts that a file is read by."""
    if path.suffix.lower() != ".jsonl":
        yield Stretch(str(path))
        return
    size = path.stat().st_size
    for begin in range(0, max(size, 1), STRETCH_BYTES):
        yield Stretch(str(path), begin, min(begin + STRETCH_BYTES, size))


def read(stretch: Stretch) -> Iterator[tuple[int, Row | Broken | None]]:
    """(line, row) of each line, None for an empty one; counted from the stretch's own first.  Raises OSError."""
    path = Path(stretch.file)
    readers = {".json": _json, ".csv": _csv, ".parquet": _parquet}
    if stretch.end is not None:
        return _jsonl(path, stretch.begin, stretch.end)
    return readers.get(path.suffix.lower(), _whole_jsonl)(path)


def _jsonl(path: Path, begin: int, end: int) -> Iterator[tuple[int, Row | Broken | None]]:
    at = begin
    with path.open("rb") as stream:
        if begin:
            stream.seek(begin - 1)
            at = begin - 1 + len(stream.readline())
        number = 0
        while at < end:
            line = stream.readline()
            at += len(line)
            number += 1
            yield number, _parsed(line, str(path), number) if line.strip() else None


def _whole_jsonl(path: Path) -> Iterator[tuple[int, Row | Broken | None]]:
    return _jsonl(path, 0, path.stat().st_size)


def _parsed(line: bytes, file: str, number: int) -> Row | Broken:
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        return Broken(file, number, "syntax", f"byte {error.start + 1} is not UTF-8")
    except json.JSONDecodeError as error:
        return Broken(file, number, "syntax", _not_json(error), error.colno)
    except (ValueError, RecursionError) as error:
        return Broken(file, number, "syntax", f"not JSON: {error}")
    if not isinstance(value, dict):
        return Broken(file, number, "form", f"{shown(value)} is no object")
    return value


def _not_json(error: json.JSONDecodeError) -> str:
    return f"not JSON at column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"


def _json(path: Path) -> Iterator[tuple[int, Row | Broken | None]]:
    """A list of objects, or one object a line under this name."""
    text = path.read_bytes()
    if not text.lstrip().startswith(b"["):
        if _is_one_object(text):
            yield 1, Broken(str(path), 1, "syntax", "one object over several lines, not a list of rows")
            return
        yield from _whole_jsonl(path)
        return
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        yield error.lineno, Broken(str(path), error.lineno, "syntax", _not_json(error), error.colno)
        return
    except (ValueError, RecursionError) as error:
        yield 1, Broken(str(path), 1, "syntax", f"not JSON: {error}")
        return
    for number, value in enumerate(values, 1):
        whole = isinstance(value, dict)
        yield number, value if whole else Broken(str(path), number, "form", f"{shown(value)} is no object")


def _is_one_object(text: bytes) -> bool:
    """Whether the first line alone is no row, but all lines together are an object."""
    if text.split(b"\n", 1)[0].rstrip().endswith(b"}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _csv(path: Path) -> Iterator[tuple[int, Row | Broken | None]]:
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        try:
            for row in reader:
                if None in row:
                    message = "more fields than the header has: quote those that hold commas"
                    yield reader.line_num, Broken(str(path), reader.line_num, "syntax", message)
                else:
                    yield reader.line_num, dict(row)
        except UnicodeDecodeError:
            line = _not_utf8(path)
            yield line, Broken(str(path), line, "syntax", "not UTF-8")
        except csv.Error as error:
            yield reader.line_num, Broken(str(path), reader.line_num + 1, "syntax", f"not CSV: {error}")


def _not_utf8(path: Path) -> int:
    """The first line that is no UTF-8; a decoder reads ahead, and can't say."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _parquet(path: Path) -> Iterator[tuple[int, Row | Broken | None]]:
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=2000):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        yield 1, Broken(str(path), 1, "syntax", f"not Parquet: {str(error).splitlines()[0]}")


def line_at(path: Path, number: int, most: int = 4096) -> str:
    """A line of a text file, its beginning if it is long; empty where there is none."""
    with path.open("rb") as stream:
        line = next(islice(stream, number - 1, None), b"")
    return line[:most].decode("utf-8", "replace").rstrip("\r\n")


def shown(value: object) -> str:
    """A value in few words."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"`{text}`" if len(text) <= 50 else f"`{text[:47]}...`"
