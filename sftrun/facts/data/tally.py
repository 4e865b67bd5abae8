"""A stretch of a data file -> a tally: each row's length, what is learnt of it, its hash, its faults.

This is what the worker processes run; a tally is small (16 bytes a row) and travels back, the rows never do.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.errors import Problem
from sftrun.facts.data import private
from sftrun.facts.values import FaultKind, RowFault
from sftrun.rows import ends, shape, tokenizer, turns
from sftrun.rows.columns import Reading, stands
from sftrun.rows.forms import Pair
from sftrun.rows.labels import Labelled, Labeller, Refused
from sftrun.rows.plain import Row, says_nothing
from sftrun.rows.raw.broken import Broken
from sftrun.rows.raw.read import Stretch, read
from sftrun.rows.tokenizer import Measured, Tokens
from sftrun.rows.turns import Conversation

BATCH = 500
FAULTS_KEPT = 5


@dataclass
class Tally:
    """What a stretch came to; the four arrays have one entry a good row, `lines` the line it stands at.

    `given` are all rows, `found` those that have a column which the first row has not."""

    lines: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    learnt: array[int] = field(default_factory=lambda: array("I"))
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    counts: Counter[FaultKind] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    renamed: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[RowFault] = field(default_factory=list)
    private: Counter[str] = field(default_factory=Counter)
    line_count: int = 0
    unlearnt: int = 0
    given: int = 0
    found: Counter[str] = field(default_factory=Counter)

    def fault(self, file: str, line: int, kind: FaultKind, message: str, column: int = 1) -> None:
        """Count it, and keep the first few."""
        self.counts[kind] += 1
        if self.counts[kind] <= FAULTS_KEPT:
            self.faults.append(RowFault(file=file, line=line, kind=kind, message=message, column=column))


class How(NamedTuple):
    """How the rows of one source become labels; of more than `most` rows the first ones."""

    rules: RowRules
    reading: Reading
    max_length: int
    most: int | None = None

    @property
    def form(self) -> DataFormat:
        return self.reading.form


class Work(NamedTuple):
    """What a worker needs to know once."""

    how: How
    tokenizer_folder: Path | None
    whole_texts: bool = False  # leave the fast way of `rows.pieces` alone


_worker: tuple[Work, Labeller | None] | None = None


def labeller(work: Work, found: Tokens | Problem) -> Labeller | None:
    """With the model's tokenizer; None where that is not to be had."""
    if isinstance(found, Problem):
        return None
    if work.whole_texts:
        found.without_pieces()
    return Labeller(work.how.rules, work.how.form, work.how.max_length, found)


def prepare(work: Work) -> None:
    """Once in each process."""
    global _worker
    _worker = (work, labeller(work, tokenizer.load(work.tokenizer_folder, work.how.rules)))


def tally(stretch: Stretch) -> Tally:
    """One stretch, in a process that was prepared."""
    assert _worker is not None
    return tally_with(stretch, *_worker)


def tally_with(stretch: Stretch, work: Work, labeller: Labeller | None, most: int | None = None) -> Tally:
    """The same with everything given; of more than `most` rows the first ones."""
    result, form = Tally(), work.how.form
    rows = _good_rows(stretch, work.how, result, most)
    while batch := list(islice(rows, BATCH)):
        pairs = [shape.pair(row, form, work.how.rules) for _, row in batch]
        measured = labeller.measure([row for _, row in batch], pairs) if labeller else [None] * len(batch)
        for (line, row), pair, found in zip(batch, pairs, measured, strict=True):
            _judge(result, (stretch.file, line), row, pair, work.how)
            if found is not None and pair is not None and _is_end_alone(found, pair, work.how):
                result.fault(stretch.file, line, "blank", "the answer is an end token alone")
            _take(result, (stretch.file, line), found, labeller)
            told = content(row, pair, work.how)
            _private(result, (stretch.file, line), told)
            digest = blake2b(told, digest_size=8).digest()
            result.hashes.append(int.from_bytes(digest, "little"))
        if labeller is not None:
            _special(result, stretch.file, batch, pairs, labeller)
    return result


def content(row: Row, pair: Pair | None, how: How) -> bytes:
    """What makes a row the same as another."""
    if pair is not None:
        return "\0".join(pair).encode("utf-8", "surrogatepass")
    told = [row.get(column) for column in shape.read_columns(how.form, how.rules)]
    return json.dumps(told, sort_keys=True, default=str).encode()


def is_blank(row: Row, pair: Pair | None, how: How) -> bool:
    """Whether a row has nothing to learn but an end."""
    return _is_blank(pair, how) if pair is not None else _ends_blank(shape.conversation(row, how.form)[0])


def _is_blank(pair: Pair, how: How) -> bool:
    return says_nothing(pair[0] if how.form == "text" else pair[1])


def _is_end_alone(found: Measured | Labelled | Refused, pair: Pair, how: How) -> bool:
    """Whether somebody has typed the token that would have been added, and nothing else."""
    if not isinstance(found, Measured) or how.form == "text" or how.rules.completion_only is False:
        return False
    return found.tokens - found.border == 1 and found.clean and not says_nothing(pair[1])


def _ends_blank(talk: Conversation) -> bool:
    last = talk.messages[-1]
    return last["role"] == "assistant" and not turns.says(last)


def _good_rows(stretch: Stretch, how: How, result: Tally, most: int | None) -> Iterator[tuple[int, Row]]:
    for line, found in read(stretch):
        if result.given == most:
            return
        result.line_count = line
        if isinstance(found, Broken):
            result.fault(found.file, found.line, found.kind, found.message, found.column)
        elif found is not None:
            result.given += 1
            result.found.update(ours for ours, theirs in how.reading.doubted if stands(found, theirs))
            row = how.reading.row(found)
            wrong = how.reading.fault(row, how.rules)
            if wrong is None:
                yield line, row
            else:
                result.fault(stretch.file, line, "form", wrong)


def _judge(result: Tally, place: tuple[str, int], row: Row, pair: Pair | None, how: How) -> None:
    """What a row's own texts say, whatever the tokenizer."""
    result.unread.update(shape.unread(row, how.form, how.rules))
    talk = Conversation((), None, ())
    if pair is None:
        talk, _ = shape.conversation(row, how.form)
        result.renamed.update(talk.renamed)
        fault = turns.order_fault(talk)
        if fault is not None:
            result.fault(*place, "roles", fault)
    if _ends_blank(talk) if pair is None else _is_blank(pair, how):
        result.fault(*place, "blank", "the answer is blank: nothing but its end is learnt")


def _take(
    result: Tally,
    place: tuple[str, int],
    found: Measured | Labelled | Refused | None,
    labeller: Labeller | None,
) -> None:
    lengths, learnt = [0], [0]
    if isinstance(found, Refused):
        result.fault(*place, found.kind, found.message)
    elif found is not None and labeller is not None:
        lengths, learnt = _lengths(found, labeller)
        result.unlearnt += labeller.learnable(found) - sum(learnt) if len(learnt) == 1 else 0
        if len(result.lines) < ends.ROWS:
            result.ends.update(_ends(found, labeller))
        if not any(learnt):
            result.fault(*place, "nothing_learnt", _why_nothing(found, labeller.max_length))
        if isinstance(found, Measured) and not found.clean:
            result.fault(*place, "border", "the prompt's last token merges with the completion's first")
    result.lines.append(place[1])
    result.lengths.extend(lengths)
    result.learnt.extend(learnt)


def _private(result: Tally, place: tuple[str, int], told: bytes) -> None:
    """Keys and personal data; a row is one fault of each sort, its kinds are counted apart."""
    seen = list(private.found(told))
    result.private.update(one.what for one in seen)
    for kind in dict.fromkeys(one.kind for one in seen):
        named = " and ".join(one.what for one in seen if one.kind == kind)
        result.fault(*place, kind, f"it holds what looks like {named}")


def _lengths(found: Measured | Labelled, labeller: Labeller) -> tuple[list[int], list[int]]:
    """(tokens, tokens learnt) of a row, or of each piece of a text under `chunk`."""
    tokens = found.tokens if isinstance(found, Measured) else len(found.ids)
    pieces = labeller.windows(tokens)
    if len(pieces) == 1:
        return [tokens], [labeller.learnt(found)]
    return [end - begin for begin, end in pieces], [end - begin - 1 for begin, end in pieces]


def _ends(found: Measured | Labelled, labeller: Labeller) -> Iterator[str]:
    """Of a text the end-of-sequence token, where it is not cut away."""
    if isinstance(found, Labelled):
        yield from ends.of_row(labeller.cut(found), labeller.tokens)
    elif found.tokens <= labeller.max_length or labeller.rules.truncation_mode == "keep_end":
        yield labeller.tokens.eos


def _special(
    result: Tally, file: str, batch: list[tuple[int, Row]], pairs: list[Pair | None], labeller: Labeller
) -> None:
    """Special tokens that somebody typed, and the one before each text that stands there already."""
    known, typed = labeller.tokens, labeller.typed
    for (line, row), pair in zip(batch, pairs, strict=True):
        if pair is not None and known.begin_text and pair[0].startswith(known.begin_text):
            result.fault(
                file, line, "two_begins", f"`{known.begin_text}` is typed, and the tokenizer puts it there too"
            )
        said = typed(row, pair)
        if said is not None:
            result.fault(file, line, "special", f"`{said}` is typed in a text: it becomes the model's own token")


def _why_nothing(row: Measured | Labelled, max_length: int) -> str:
    if isinstance(row, Measured) and row.border >= max_length:
        return f"the prompt alone has {row.border:,} tokens, `max_length` is {max_length:,}"
    if isinstance(row, Labelled) and len(row.ids) > max_length:
        return f"nothing that is learnt stands within the first {max_length:,} of {len(row.ids):,} tokens"
    return "it has nothing to answer with"
