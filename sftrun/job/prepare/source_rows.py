"""All rows of a job's sources, from files or the Hub, each with its place; the first bad one ends the run."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import DatasetSpec, DataSource
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.rows import find, forms, shape
from sftrun.rows.plain import Row
from sftrun.rows.read import Broken, whole, without_fillers


@dataclass
class Rows:
    """Rows of one form, with the place that each came from."""

    form: DataFormat
    rows: list[Row]
    places: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Sequence[int]) -> "Rows":
        return Rows(self.form, [self.rows[i] for i in indices], [self.places[i] for i in indices])


def load(spec: DatasetSpec, rules: RowRules, seed: int) -> tuple[Rows, Rows | None]:
    """Training rows, and validation rows if there are any."""
    train = of_source(spec.train, rules)
    if spec.eval is not None:
        return train, of_source(spec.eval, rules.model_copy(update={"format": train.form}))
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


def of_source(source: DataSource, rules: RowRules) -> Rows:
    """All rows of a source, each without faults."""
    found = list(_from_hub(source) if source.hub else _from_files(source.files))
    if not found:
        raise JobFailure("data", f"no rows in {_name(source)}", "give a file with at least one row")
    places, rows = [place for place, _ in found], [row for _, row in found]
    form = _form(rules, rows[0], _name(source))
    for place, row in found:
        wrong = shape.fault(row, form, rules)
        if wrong is not None:
            raise JobFailure("data", f"{place}: {wrong}", "mend that row")
    return Rows(form, rows, places)


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


def _form(rules: RowRules, row: Row, name: str) -> DataFormat:
    form = forms.form_of(rules, row)
    if form is None:
        known = "; ".join(f"{each}: {', '.join(forms.columns_of(each, rules.text_column))}" for each in forms.COLUMNS)
        what = "are no known form" if rules.format == "auto" else f"are not those of {rules.format}"
        message = f"{name} has the columns {', '.join(row) or 'none'}, which {what}"
        raise JobFailure("data", message, f"name them as one of {known}")
    for wrong in forms.contradictions(form, rules):
        message = f"`trainer.{wrong.key}` needs rows of {wrong.needed}, and those of {name} are {form}"
        raise JobFailure("data", message, wrong.instead)
    return form


def _from_files(names: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for path in (path for name in names for path in _expand(name)):
        if find.kind(path) is None:
            raise JobFailure("data", f"{path} is no data file", f"use one of {', '.join(find.SUFFIXES)}")
        try:
            yield from _of_file(path)
        except OSError as error:
            raise _unreadable(path, error) from None


def _of_file(path: Path) -> Iterator[tuple[str, Row]]:
    has_lines = find.kind(path) in (".jsonl", ".csv")
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
