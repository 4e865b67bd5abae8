"""All rows of a job's sources, from files or the Hub, each with its place; the first bad one ends the run."""

import random
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import DatasetSpec, DataSource
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.job.prepare.spool import Chosen, Spool
from sftrun.rows import columns, forms
from sftrun.rows.columns import Reading
from sftrun.rows.plain import Row
from sftrun.rows.raw import find
from sftrun.rows.raw.broken import Broken
from sftrun.rows.raw.read import whole
from sftrun.rows.raw.tables import without_fillers


@dataclass
class Rows:
    """Rows of one source, read by its `rules`, with the place that each came from.

    `found_names` are columns' that nobody wrote.
    """

    rules: RowRules
    form: DataFormat
    rows: Sequence[Row]
    places: Sequence[str]
    found_names: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Sequence[int]) -> "Rows":
        """Some of them by number, looked up when they are read."""
        chosen = array("q", indices)
        return replace(self, rows=Chosen(self.rows, chosen), places=Chosen(self.places, chosen))


def held_out(rows: Rows, spec: DatasetSpec, seed: int) -> tuple[Rows, Rows | None]:
    """(train, eval) of one source, by `dataset.eval_fraction`."""
    return split(rows, spec.eval_fraction, seed) if spec.eval_fraction else (rows, None)


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
    kept = array("q", (index for index in range(len(rows)) if index not in chosen))
    return rows.select(kept), rows.select(sorted(chosen))


def of_source(source: DataSource, rules: RowRules, folder: Path | None = None) -> Rows:
    """All rows of a source, each without faults; they lie in a file in `folder`, and not in memory."""
    rules = source.rules(rules)
    found = islice(_from_hub(source) if source.hub else _from_files(source.files), source.max_examples)
    first = next(found, None)
    if first is None:
        raise JobFailure("data", f"no rows in {_name(source)}", "give a file with at least one row")
    reading, spool = _reading(rules, first[1], _name(source)), Spool(folder)
    for place, given in chain([first], found):
        row = reading.row(given)
        wrong = reading.fault(row, rules)
        if wrong is not None:
            raise JobFailure("data", f"{place}: {wrong}", "mend that row")
        spool.append((place, row))
    return Rows(rules, reading.form, spool.rows(), spool.places(), reading.found)


def content(source: DataSource) -> tuple[tuple[str, str], ...] | None:
    """(name, SHA-256) of each file, or (name, commit) of a Hub's data set; None where the Hub names no commit."""
    if source.hub is not None:
        commit = _commit(source.hub, source.revision)
        return None if commit is None else ((source.hub, commit),)
    try:
        return tuple((str(path), find.sha256(path)) for name in source.files for path in _expand(name))
    except OSError as error:
        raise _unreadable(Path(str(error.filename)), error) from None


def size(source: DataSource) -> int:
    """Bytes of the files."""
    return sum(path.stat().st_size for name in source.files for path in _expand(name))


def _name(source: DataSource) -> str:
    return source.hub or ", ".join(source.files)


def _reading(rules: RowRules, row: Row, name: str) -> Reading:
    found = columns.reading(rules, row)
    if found is None:
        for ours, near in columns.missing(rules, row).items():
            message = f"{name} has no column {rules.columns[ours]}, which `columns.{ours}` names"
            raise JobFailure("data", message, f"did you mean {near}?" if near else f"it has {', '.join(row)}")
        known = "; ".join(f"{each}: {', '.join(forms.columns_of(each, rules.text_column))}" for each in forms.COLUMNS)
        what = "are no known form" if rules.format == "auto" else f"are not those of {rules.format}"
        message = f"{name} has the columns {', '.join(row) or 'none'}, which {what}"
        raise JobFailure("data", message, f"name them as one of {known}")
    for wrong in forms.contradictions(found.form, rules):
        message = f"`trainer.{wrong.key}` needs rows of {wrong.needed}, and those of {name} are {found.form}"
        raise JobFailure("data", message, wrong.instead)
    return found


def _from_files(names: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for path in (path for name in names for path in _expand(name)):
        if find.kind(path) is None:
            raise JobFailure("data", f"{path} is no data file", f"use one of {', '.join(find.SUFFIXES)}")
        try:
            yield from _of_file(path)
        except OSError as error:
            raise _unreadable(path, error) from None


def _of_file(path: Path) -> Iterator[tuple[str, Row]]:
    has_lines = find.has_lines(path)
    for line, row in whole(path):
        place = f"{path}:{line}" if has_lines else f"{path}, entry {line}"
        if isinstance(row, Broken):
            raise JobFailure("data", f"{place}: {row.message}", "mend it, or take it out")
        if row is not None:
            yield place, row


def _unreadable(path: Path, error: OSError) -> JobFailure:
    return JobFailure("data", f"can't read {path}: {error.strerror}", "check `dataset` and the volume it stands on")


def _expand(name: str) -> tuple[Path, ...]:
    """The files of a path, a folder or a glob (what lies on a Volume can't be expanded from the user's machine)."""
    found = find.find(name)
    if found or not (Path(name).is_dir() or any(mark in name for mark in "*?[")):
        return found or (Path(name),)
    raise JobFailure("data", f"no data files at {name}", f"put {', '.join(find.SUFFIXES)} files there")


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
        yield f"{source.hub}, row {number}", without_fillers(row)
