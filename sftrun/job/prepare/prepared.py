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
from sftrun.contract.events import DataReady, SourceShare
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import files, flock, outside
from sftrun.disk.flock import Holder
from sftrun.job.prepare import source_rows
from sftrun.job.prepare.making import TEXTS_KEPT, Making, Split
from sftrun.job.prepare.shards import Crew
from sftrun.rows import ends
from sftrun.rows.tokenizer import Tokens
from sftrun.strict import Strict

VERSION = 6  # to be raised with whatever changes a token, its label or its place, or what the marker says
MARKER = "prepared.json"
TEXTS = "texts.json"
FOLDER = "prepared"
DROPPED_SHARE_WORTH_SAYING = 0.01
UNUSED_SECONDS = 30 * 86_400.0
POLL_SECONDS = 0.1


class Marker(Strict):
    """prepared.json; `files` maps each name to its bytes, `ends` are the tokens that turns are trained to end with.

    `system` is the system turn that all rows begin with, None where they differ.  `found_names` are columns' that a
    known form has and nobody wrote (column, ours).  `eval` has the name "" where there is one set; `sources` are those
    of a mix.
    """

    version: int = VERSION
    format: DataFormat
    are_conversations: bool
    ends: tuple[str, ...]
    system: str | None
    train: Split
    eval: dict[str, Split]
    is_packed: bool
    found_names: dict[str, str] = {}
    sources: tuple[SourceShare, ...] = ()
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
        """None where there are no validation rows; sets by name, or the one that has none."""
        names = list(self.marker.eval)
        if names in ([], [""]):
            return _mapped(self.folder / "eval.arrow") if names else None
        return {name: _mapped(self.folder / f"eval-{number}.arrow") for number, name in enumerate(names)}

    @property
    def eval_rows(self) -> int:
        return sum(split.counts.rows for split in self.marker.eval.values())

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
            sources=self.marker.sources,
        )

    def names(self) -> str | None:
        """Which columns are read by the names of a known form, as a sentence; None where none are."""
        named = ", ".join(f"`{theirs}` as {ours}" for theirs, ours in self.marker.found_names.items())
        return f"columns with the names of a known form: {named}" if named else None

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
    sources = dataset.sources
    is_drawn = any(source.weight % 1 for source in dataset.train)
    contents = [(source_rows.content(source) or spec.run_id, source.config, source.split) for source in sources]
    return {
        "version": VERSION,
        "libraries": [version(name) for name in ("tokenizers", "jinja2")],
        "data": contents,
        "mix": ([source.weight for source in dataset.train], trainer.seed if is_drawn else None, list(dataset.eval)),
        "held_out": (dataset.eval_fraction, trainer.seed) if dataset.eval_fraction else None,
        "rows": [source.rules(spec.rows).model_dump(mode="json") for source in sources],
        "first": [source.max_examples for source in sources],
        "tokenizer": tokens.spec.fingerprint,
        "length": trainer.max_length,
        "packing": (packs(spec), dataset.shuffle),
    }


def _fill(spec: JobSpec, tokens: Tokens, partial: Path, crew: Crew) -> None:
    """All rows, then the marker; then what they were made of goes."""
    work = Making(spec, tokens, partial, crew)
    trained, held_out = work.train()
    sets = work.evaluation(trained) if spec.dataset.eval else {"": held_out} if held_out else {}
    train = work.mix(trained)
    evals = {name: work.join(made, _eval_file(name, spec)) for name, made in sets.items()}
    (partial / TEXTS).write_text(json.dumps([text for made in trained for text in made.texts][: 2 * TEXTS_KEPT]))
    made = [partial / TEXTS, partial / "train.arrow", *(partial / _eval_file(name, spec) for name in sets)]
    for path in made:
        files.flush(path)
    first = trained[0]
    marker = Marker(
        format=first.form,
        are_conversations=first.are_conversations,
        ends=ends.usual(Counter(train.counts.ends)),
        system=first.system if all(one.system == first.system for one in trained) else None,
        train=train,
        eval=evals,
        is_packed=packs(spec),
        found_names={theirs: ours for one in trained for ours, theirs in one.found_names},
        sources=work.shares,
        files={path.name: path.stat().st_size for path in made},
    )
    files.write(partial / MARKER, marker.model_dump_json(indent=1))
    for path in partial.iterdir():
        if path.name not in (*marker.files, MARKER):
            path.unlink()


def _eval_file(name: str, spec: JobSpec) -> str:
    return f"eval-{list(spec.dataset.eval).index(name)}.arrow" if name else "eval.arrow"


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
