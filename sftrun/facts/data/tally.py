"""A stretch of a data file -> a tally: each row's length, what is learnt of it, its hash, its faults.

This is what the worker processes run; a tally is small (16 bytes a row) and travels back, the rows never do.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from sftrun.errors import Problem
from sftrun.facts.values import RowFault
from sftrun.rows import tokenizer
from sftrun.rows.labels import Labelled, Labeller, content, misshapen, roles_fault, texts
from sftrun.rows.read import Broken, Row, Stretch, read
from sftrun.rows.tokenizer import Measured
from sftrun.rows.wish import Labelling

BATCH = 500
FAULTS_KEPT = 5
Kind = Literal["syntax", "form", "roles", "nothing_learnt", "duplicate", "in_train", "template", "border"]


@dataclass
class Tally:
    """What a stretch came to; the four arrays have one entry a good row, `lines` the line it stands at."""

    lines: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    learnt: array[int] = field(default_factory=lambda: array("I"))
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    counts: Counter[Kind] = field(default_factory=Counter)
    faults: list[RowFault] = field(default_factory=list)
    line_count: int = 0

    def fault(self, file: str, line: int, kind: Kind, message: str, column: int = 1) -> None:
        """Count it, and keep the first few."""
        self.counts[kind] += 1
        if self.counts[kind] <= FAULTS_KEPT:
            self.faults.append(RowFault(file=file, line=line, kind=kind, message=message, column=column))


class Work(NamedTuple):
    """What a worker needs to know once."""

    how: Labelling
    tokenizer_folder: Path | None
    whole_texts: bool = False  # leave the fast way of `tokens_pieces` alone


_worker: tuple[Work, Labeller | None] | None = None


def prepare(work: Work) -> None:
    """Once in each process."""
    global _worker
    found = tokenizer.load(work.tokenizer_folder)
    if isinstance(found, Problem):
        _worker = (work, None)
        return
    if work.whole_texts:
        found.without_pieces()
    _worker = (work, Labeller(work.how, found))


def tally(stretch: Stretch) -> Tally:
    """One stretch, in a process that was prepared."""
    assert _worker is not None
    return tally_with(stretch, *_worker)


def tally_with(stretch: Stretch, work: Work, labeller: Labeller | None) -> Tally:
    """The same with everything given."""
    result = Tally()
    rows = _good_rows(stretch, work.how, result)
    while batch := list(islice(rows, BATCH)):
        pairs = [texts(row, work.how) for _, row in batch]
        measured = labeller.measure([row for _, row in batch], pairs) if labeller else [None] * len(batch)
        for (line, row), pair, found in zip(batch, pairs, measured, strict=True):
            place = (stretch.file, line)
            if pair is None and (fault := roles_fault(row, work.how.format)) is not None:
                result.fault(*place, "roles", fault)
            _take(result, place, found, labeller)
            digest = blake2b(content(row, pair, work.how.format), digest_size=8).digest()
            result.hashes.append(int.from_bytes(digest, "little"))
    return result


def _good_rows(stretch: Stretch, how: Labelling, result: Tally) -> Iterator[tuple[int, Row]]:
    for line, row in read(stretch):
        result.line_count = line
        if isinstance(row, Broken):
            result.fault(row.file, row.line, row.kind, row.message, row.column)
        elif row is not None:
            wrong = misshapen(row, how.format)
            if wrong is None:
                yield line, row
            else:
                result.fault(stretch.file, line, "form", wrong)


def _take(
    result: Tally,
    place: tuple[str, int],
    found: Measured | Labelled | Exception | None,
    labeller: Labeller | None,
) -> None:
    length = learnt = 0
    if isinstance(found, Exception):
        result.fault(*place, "template", f"the chat template refuses it: {found}")
    elif found is not None and labeller is not None:
        length = found.tokens if isinstance(found, Measured) else len(found.ids)
        learnt = labeller.learnt(found)
        if learnt == 0:
            result.fault(*place, "nothing_learnt", _why_nothing(found, labeller.how))
        if isinstance(found, Measured) and not found.clean:
            result.fault(*place, "border", "the prompt's last token merges with the completion's first")
    result.lines.append(place[1])
    result.lengths.append(length)
    result.learnt.append(learnt)


def _why_nothing(row: Measured | Labelled, how: Labelling) -> str:
    if isinstance(row, Measured) and row.border >= how.max_length:
        return f"the prompt alone has {row.border:,} tokens, `max_length` is {how.max_length:,}"
    if isinstance(row, Labelled) and len(row.ids) > how.max_length:
        return f"nothing that is learnt stands within the first {how.max_length:,} of {len(row.ids):,} tokens"
    return "it has nothing to answer with"
