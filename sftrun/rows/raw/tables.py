"""Tables -> rows: CSV with whatever sign divides it, and Parquet without the nulls that fill up its structs."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sftrun.rows.plain import Row
from sftrun.rows.raw import find, packed
from sftrun.rows.raw.broken import Broken, Line

_DELIMITERS = ",;\t|"


def csv_rows(path: Path) -> Iterator[Line]:
    csv.field_size_limit(2**31 - 1)
    with packed.opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
        reader: csv.DictReader[str] | None = None
        try:
            first = stream.readline()
            reader = csv.DictReader(_again(first, stream), delimiter=delimiter(first, path))
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
        except (csv.Error, *packed.ERRORS) as error:
            line = reader.line_num if reader is not None else 0
            yield line, Broken(str(path), line + 1, "syntax", f"not CSV: {error}")


def _again(first: str, rest: IO[str]) -> Iterator[str]:
    yield first
    yield from rest


def delimiter(header: str, path: Path) -> str:
    """The sign that divides most of the header, outside of quotes; where none does, the one that is usual."""
    plain, usual = "".join(header.split('"')[::2]), "\t" if find.kind(path) == ".tsv" else ","
    signs: tuple[str, ...] = (usual, *_DELIMITERS)
    return max(signs, key=lambda sign: plain.count(sign))


def divided_by(path: Path) -> str | None:
    """The sign that a table is divided by, where it is no comma.  Raises OSError."""
    if find.kind(path) not in (".csv", ".tsv"):
        return None
    with packed.opened(path) as raw:
        first = raw.readline(65_536).decode("utf-8-sig", "replace")
    sign = delimiter(first, path)
    return None if sign == "," else sign


def _doubled(names: Any) -> str | None:
    return next((name for number, name in enumerate(names) if name in names[:number]), None)


def _not_utf8(path: Path) -> int:
    """The first line that is no UTF-8; a decoder reads ahead, and can't say."""
    with packed.opened(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def parquet_rows(path: Path) -> Iterator[Line]:
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
