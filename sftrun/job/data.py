"""Rows from files or the Hub, checked one by one: a bad one is named by its file and line.

Files are read here and not by `datasets`, whose errors name neither, and whose cache would keep a second copy.
"""

import csv
import glob
import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import DatasetSpec, DataSource
from sftrun.job.failures import JobFailure
from sftrun.rows.forms import COLUMNS, detect

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
Row = dict[str, Any]


@dataclass
class Rows:
    """Rows of one form, with the place that each came from."""

    format: DataFormat
    rows: list[Row]
    places: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Sequence[int]) -> "Rows":
        return Rows(self.format, [self.rows[i] for i in indices], [self.places[i] for i in indices])


def load(spec: DatasetSpec, seed: int) -> tuple[Rows, Rows | None]:
    """Training rows, and validation rows if there are any."""
    train = read(spec.train, spec.format)
    if spec.eval is not None:
        return train, read(spec.eval, train.format)
    if spec.eval_fraction:
        return split(train, spec.eval_fraction, seed)
    return train, None


def split(rows: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """(train, eval): a fixed part by the seed, at least one row on either side; both keep the order of the file."""
    if len(rows) < 2:
        raise JobFailure(
            "data",
            f"{len(rows)} row can't be split by `dataset.eval_fraction`",
            "add rows, or drop `dataset.eval_fraction`",
        )
    count = min(max(1, round(len(rows) * fraction)), len(rows) - 1)
    chosen = set(random.Random(seed).sample(range(len(rows)), count))
    kept = [index for index in range(len(rows)) if index not in chosen]
    return rows.select(kept), rows.select(sorted(chosen))


def read(source: DataSource, form: DataFormat | str) -> Rows:
    """All rows of a source, each with the columns of its form."""
    found = list(_from_hub(source) if source.hub else _from_files(source.files))
    if not found:
        raise JobFailure("data", f"no rows in {_name(source)}", "give a file with at least one row")
    places, rows = [place for place, _ in found], [row for _, row in found]
    known = _format(form, rows[0], _name(source))
    for place, row in found:
        _check(place, row, known)
    return Rows(known, rows, places)


def content(source: DataSource) -> tuple[tuple[str, str], ...] | None:
    """(name, SHA-256) of each file, or (name, commit) of a Hub's data set; None where the Hub names no commit."""
    if source.hub is not None:
        commit = _commit(source.hub, source.revision)
        return None if commit is None else ((source.hub, commit),)
    return tuple((str(path), _sha256(path)) for name in source.files for path in _expand(name))


def size(source: DataSource) -> int:
    """Bytes of the files."""
    return sum(path.stat().st_size for name in source.files for path in _expand(name))


def _name(source: DataSource) -> str:
    return source.hub or ", ".join(source.files)


def _format(form: DataFormat | str, row: Row, name: str) -> DataFormat:
    found = next((known for known in COLUMNS if known == form), None) or detect(row)
    if found is None:
        forms = "; ".join(f"{known}: {', '.join(columns)}" for known, columns in COLUMNS.items())
        raise JobFailure(
            "data",
            f"{name} has the columns {', '.join(row) or 'none'}, which are no known form",
            f"name them as one of {forms}",
        )
    return found


def _check(place: str, row: Row, form: DataFormat) -> None:
    for column in COLUMNS[form]:
        if row.get(column) is None:
            raise JobFailure(
                "data",
                f"{place}: no `{column}`, which the form {form} needs",
                f"it has {', '.join(row) or 'no columns'}",
            )
        if not _is_right(row[column], form):
            kind = "a list of role and content" if form == "messages" else "a text"
            raise JobFailure("data", f"{place}: `{column}` is {_shown(row[column])}, not {kind}", "mend that row")


def _is_right(value: object, form: DataFormat) -> bool:
    if isinstance(value, str):
        return form != "messages"
    return form in ("messages", "prompt_completion") and _are_messages(value)


def _are_messages(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in value)
    )


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_files(names: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for path in (path for name in names for path in _expand(name)):
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise JobFailure("data", f"{path} is no data file", f"use one of {', '.join(SUFFIXES)}")
        try:
            yield from reader(path)
        except OSError as error:
            raise _unreadable(path, error) from None
        except UnicodeDecodeError as error:
            raise JobFailure(
                "data", f"{path} is not UTF-8: byte {error.start} can't be read", "save it as UTF-8"
            ) from None


def _unreadable(path: Path, error: OSError) -> JobFailure:
    return JobFailure("data", f"can't read {path}: {error.strerror}", "check `dataset` and the volume it stands on")


def _expand(name: str) -> list[Path]:
    """A file, a folder's data files, or a glob (what lies on a Volume can't be expanded from the user's machine)."""
    path = Path(name)
    if path.is_dir():
        found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)
    elif not path.exists() and any(mark in name for mark in "*?["):
        found = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
    else:
        return [path]
    if not found:
        raise JobFailure("data", f"no data files at {name}", f"put {', '.join(SUFFIXES)} files there")
    return found


def _read_lines(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}:{number}", _parse(line, f"{path}:{number}")


def _parse(text: bytes, place: str) -> Row:
    try:
        value = json.loads(text)
    except ValueError as error:  # UnicodeDecodeError is one
        raise JobFailure("data", f"{place} is not JSON: {error}", "each line must be one JSON object") from None
    if not isinstance(value, dict):
        raise JobFailure("data", f"{place} is {_shown(value)}, not an object", "each line must be one JSON object")
    return value


def _read_json(path: Path) -> Iterator[tuple[str, Row]]:
    """A list of objects; a file of lines under this name is taken too."""
    text = path.read_bytes()
    if not text.lstrip().startswith(b"["):
        yield from _read_lines(path)
        return
    try:
        values = json.loads(text)
    except ValueError as error:
        raise JobFailure(
            "data", f"{path} is not JSON: {error}", "it must be a list of objects, or one object a line"
        ) from None
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise JobFailure("data", f"{path}: entry {number} is {_shown(value)}, not an object", "mend that entry")
        yield f"{path}, entry {number}", value


def _read_csv(path: Path) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                if None in row:
                    raise JobFailure(
                        "data",
                        f"{path}:{reader.line_num} has more fields than the header",
                        "quote fields that hold commas",
                    )
                yield f"{path}:{reader.line_num}", row
        except csv.Error as error:
            raise JobFailure("data", f"{path}:{reader.line_num} is not CSV: {error}", "mend that line") from None


def _read_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise JobFailure("data", f"{path} is not Parquet: {error}", "write the file again") from None
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}, row {number}", row


_READERS = {".jsonl": _read_lines, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _commit(hub: str, revision: str | None) -> str | None:
    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(hub, revision=revision, timeout=10).sha
    except Exception:  # no network, or nothing of that name: reading it will say what is so
        return None


def _from_hub(source: DataSource) -> Iterator[tuple[str, Row]]:
    from datasets import load_dataset

    try:
        rows = load_dataset(source.hub, source.config, split=source.split or "train", revision=source.revision)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        raise JobFailure("data", f"can't load {source.hub}: {error}", "check its name, split and revision") from error
    for number, row in enumerate(rows, 1):
        yield f"{source.hub}, row {number}", row
