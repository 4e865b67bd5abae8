"""Data tokenised, labelled and packed, on the disk: made once, mapped into memory by whoever trains on it.

A folder is named by a hash of all that decides a token: the data's content, the tokenizer as it was loaded, form and
template, length, what is learnt, packing, versions.  It is made beside, with a lock that the second to come waits at,
and renamed; its marker names every file with its size.  What an interrupted making left is gone on with.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftrun.contract.choices import DataFormat
from sftrun.contract.events import DataReady
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.row_rules import RowRules
from sftrun.disk import files, flock, outside
from sftrun.disk.flock import Holder
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import shards, source_rows
from sftrun.job.prepare.shards import Counts, Crew
from sftrun.job.prepare.source_rows import Rows
from sftrun.rows import ends, shape
from sftrun.rows.labels import Labeller
from sftrun.rows.tokenizer import Tokens
from sftrun.strict import Strict

VERSION = 5  # to be raised with whatever changes a token, its label or its place, or what the marker says
MARKER = "prepared.json"
TEXTS = "texts.json"
FOLDER = "prepared"
DROPPED_SHARE_WORTH_SAYING = 0.01
UNUSED_SECONDS = 30 * 86_400.0
POLL_SECONDS = 0.1
TEXTS_KEPT = 500


class Split(Strict):
    """Counts of one split; `first_dropped` is the place of the first row in which nothing is learnt."""

    counts: Counts
    first_dropped: str | None


class Marker(Strict):
    """prepared.json; `files` maps each name to its bytes, `ends` are the tokens that turns are trained to end with.

    `system` is the system turn that all rows begin with, None where they differ.
    """

    version: int = VERSION
    format: DataFormat
    are_conversations: bool
    ends: tuple[str, ...]
    system: str | None
    train: Split
    eval: Split | None
    is_packed: bool
    files: dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """Data that stand ready; `was_ready`: before this run asked for them."""

    folder: Path
    marker: Marker
    was_ready: bool

    def train(self) -> Any:
        return _mapped(self.folder / "train.arrow")

    def evaluation(self) -> Any:
        """None where there is no validation split."""
        return None if self.marker.eval is None else _mapped(self.folder / "eval.arrow")

    @property
    def eval_rows(self) -> int:
        return 0 if self.marker.eval is None else self.marker.eval.counts.rows

    def texts(self) -> list[tuple[str, str]]:
        """(place, text) of some of the rows, by which tokenizers are compared."""
        return [(str(place), str(text)) for place, text in json.loads((self.folder / TEXTS).read_bytes())]

    def summary(self) -> DataReady:
        """What the data came to."""
        train = self.marker.train.counts
        return DataReady(
            format=self.marker.format,
            rows=train.rows,
            eval_rows=self.eval_rows,
            rows_dropped=train.given + train.pieces - train.rows,
            tokens=train.tokens,
            learnt_tokens=train.learnt_tokens,
            was_ready=self.was_ready,
        )

    def remarks(self, longest: int) -> Iterator[str]:
        """Warnings about the data, as sentences."""
        train = self.marker.train.counts
        dropped = train.given + train.pieces - train.rows
        if train.cut:
            yield f"{train.cut} of {train.given} rows were cut at `trainer.max_length` {longest}"
        if dropped > DROPPED_SHARE_WORTH_SAYING * train.given:
            first = self.marker.train.first_dropped
            count = f"{dropped} of {train.given} rows"
            yield f"{count} have nothing to learn from and are left out (the first: {first})"


def folder(spec: JobSpec, tokens: Tokens) -> Path:
    """Where this job's data stand, or are to stand.  `cache_dir` of None: beside the run's record."""
    told = json.dumps(_what_decides(spec, tokens), sort_keys=True)
    name = hashlib.sha256(told.encode()).hexdigest()[:32]
    return Path(spec.dataset.cache_dir or spec.record_dir) / FOLDER / name


def packs(spec: JobSpec) -> bool:
    """Whether rows are packed here, in TRL's stead."""
    return spec.step.packed_by == "sftrun"


def find(place: Path, *, was_ready: bool = True) -> Prepared | None:
    """What stands there whole."""
    try:
        marker = outside.read_model(Marker, place / MARKER)
        is_whole = all((place / name).stat().st_size == size for name, size in marker.files.items())
    except (OSError, ValueError):
        return None
    if not is_whole:
        return None
    with contextlib.suppress(OSError):  # used now, so not swept away
        os.utime(place / MARKER)
    return Prepared(place, marker, was_ready)


def make(spec: JobSpec, tokens: Tokens, place: Path, crew: Crew) -> Prepared:
    """Make it, or wait for whoever is making it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with flock.held(place.with_name(f"{place.name}.lock"), _pause(crew)):
        found = find(place)
        if found is not None:
            return found
        _sweep(place.parent)
        partial = place.with_name(f"{place.name}.partial")
        partial.mkdir(exist_ok=True)
        _fill(spec, tokens, partial, crew)
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
        files.flush_names(place.parent)
    made = find(place, was_ready=False)
    assert made is not None
    return made


def _what_decides(spec: JobSpec, tokens: Tokens) -> dict[str, Any]:
    dataset, trainer = spec.dataset, spec.trainer
    sources = [source for source in (dataset.train, dataset.eval) if source is not None]
    contents = [(source_rows.content(source) or spec.run_id, source.config, source.split) for source in sources]
    return {
        "version": VERSION,
        "libraries": [version(name) for name in ("tokenizers", "jinja2")],
        "data": contents,
        "held_out": (dataset.eval_fraction, trainer.seed) if dataset.eval_fraction else None,
        "rows": spec.rows.model_dump(mode="json"),
        "tokenizer": tokens.spec.fingerprint,
        "length": trainer.max_length,
        "packing": (packs(spec), dataset.shuffle),
    }


def _fill(spec: JobSpec, tokens: Tokens, partial: Path, crew: Crew) -> None:
    """Both splits, then the marker; then what they were made of goes."""
    rows, held_out = source_rows.load(spec.dataset, spec.rows, spec.trainer.seed)
    labeller = Labeller(spec.rows, rows.form, spec.trainer.max_length, tokens)
    _require_template(rows, labeller)
    splits = {"train": rows} | ({} if held_out is None else {"eval": held_out})
    told = {name: _split(each, spec, labeller, partial / name, crew) for name, each in splits.items()}
    (partial / TEXTS).write_text(json.dumps(_texts(rows, labeller)))
    made = [partial / TEXTS, *(partial / f"{name}.arrow" for name in splits)]
    for path in made:
        files.flush(path)
    marker = Marker(
        format=rows.form,
        are_conversations=_are_conversations(rows, spec.rows),
        ends=ends.usual(Counter(told["train"].counts.ends)),
        system=_system(rows, spec.rows),
        train=told["train"],
        eval=told.get("eval"),
        is_packed=packs(spec),
        files={path.name: path.stat().st_size for path in made},
    )
    files.write(partial / MARKER, marker.model_dump_json(indent=1))
    for path in partial.iterdir():
        if path.name not in (*marker.files, MARKER):
            path.unlink()


def _require_template(rows: Rows, labeller: Labeller) -> None:
    if _are_conversations(rows, labeller.rules) and labeller.tokens.template_for(None) is None:
        raise JobFailure(
            "data",
            "the rows are conversations and the model's tokenizer has no chat template",
            "use a model that has one (often named Instruct), or set `dataset.chat_template`",
        )


def _are_conversations(rows: Rows, rules: RowRules) -> bool:
    return shape.is_conversation(rows.rows[0], rows.form, rules)


def _system(rows: Rows, rules: RowRules) -> str | None:
    """The system turn that all rows begin with; None where one has none, or another."""
    if not _are_conversations(rows, rules):
        return None
    found = (shape.system(row, rows.form) for row in rows.rows)
    first = next(found)
    return first if all(each == first for each in found) else None


def _texts(rows: Rows, labeller: Labeller) -> list[tuple[str, str]]:
    """(place, text) of rows from all over the data."""
    step = -(-len(rows) // TEXTS_KEPT)
    return [(place, labeller.text(row)) for place, row in zip(rows.places[::step], rows.rows[::step], strict=True)]


def _split(rows: Rows, spec: JobSpec, labeller: Labeller, stem: Path, crew: Crew) -> Split:
    parts, counts = shards.tokenise(rows, labeller, stem, crew)
    if not counts.rows:
        raise _nothing_to_learn(rows, spec.trainer.max_length)
    first = None if counts.first_dropped is None else rows.places[counts.first_dropped]
    if packs(spec):
        whole = stem.with_name(f"{stem.name}-rows.arrow")
        shards.join(parts, whole)
        parts = shards.pack(whole, spec, stem.with_name(f"{stem.name}-packed"), crew)
    shards.join(parts, stem.with_suffix(".arrow"))
    return Split(counts=counts, first_dropped=first)


def _nothing_to_learn(rows: Rows, longest: int) -> JobFailure:
    message = (
        f"none of the {len(rows)} rows has anything to learn from: every label is masked (the first: {rows.places[0]})"
    )
    return JobFailure(
        "data",
        message,
        f"raise `trainer.max_length` ({longest}) if prompts fill it, or see that completions are not empty",
    )


def _mapped(path: Path) -> Any:
    from datasets import Dataset

    return Dataset.from_file(str(path))


def _pause(crew: Crew) -> Callable[[Holder | None], None]:
    """Whoever makes it has its turn, on this machine; elsewhere somebody may make the same files, byte for byte."""

    def wait(_: Holder | None) -> None:
        crew.between()
        time.sleep(POLL_SECONDS)

    return wait


def _sweep(parent: Path) -> None:
    """Drop what nobody has used for a month: it can be made again."""
    for path in parent.iterdir():
        used = path / MARKER if (path / MARKER).exists() else path
        if time.time() - used.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
