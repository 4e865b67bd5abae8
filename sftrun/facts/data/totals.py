"""Tallies of all stretches -> facts of a source: counts, percentiles, duplicates, rows that stand in another source."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sftrun.errors import Problem
from sftrun.facts.data.percentiles import percentile
from sftrun.facts.data.tally import FAULTS_KEPT, How, Tally
from sftrun.facts.values import DataFacts, RowFault
from sftrun.rows import ends
from sftrun.rows.columns import missing
from sftrun.rows.forms import is_chat
from sftrun.rows.plain import Row
from sftrun.rows.raw.find import Files
from sftrun.rows.raw.read import Stretch
from sftrun.rows.template import Template
from sftrun.rows.tokenizer import Tokens, lacking

AT_ONCE = 1_000_000  # hashes that are compared with each other at a time: a dictionary takes 100 bytes of each


@dataclass
class Places:
    """Where each good row stands: 10 bytes a row."""

    lines: array[int] = field(default_factory=lambda: array("Q"))
    files: array[int] = field(default_factory=lambda: array("H"))

    def of(self, number: int, names: Sequence[str]) -> tuple[str, int]:
        return names[self.files[number]], self.lines[number]


@dataclass(frozen=True)
class Counted:
    """Facts of one source, and its rows' hashes and places, to find them in another."""

    facts: DataFacts
    names: tuple[str, ...] = ()
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    places: Places = field(default_factory=Places)


def summed(
    parts: Sequence[Stretch],
    tallies: Iterable[Tally],
    files: Files,
    how: How,
    first: Row,
    found: Tokens | Problem,
) -> Counted:
    """All stretches as one, with lines counted from the beginning of each file; `first` is the first row."""
    whole, names, places, faults = Tally(), tuple(files.paths), Places(), list[RowFault]()
    offsets: Counter[str] = Counter()
    for part, one in zip(parts, tallies, strict=True):
        offset = offsets[part.file]
        offsets[part.file] += one.line_count
        faults += [fault.model_copy(update={"line": fault.line + offset}) for fault in one.faults]
        places.lines.extend(line + offset for line in one.lines)
        places.files.extend([names.index(part.file)] * len(one.lines))
        whole.counts.update(one.counts)
        whole.unread.update(one.unread)
        whole.renamed.update(one.renamed)
        whole.ends.update(one.ends)
        whole.private.update(one.private)
        whole.unlearnt += one.unlearnt
        whole.found.update(one.found)
        whole.lengths += one.lengths
        whole.learnt += one.learnt
        whole.hashes += one.hashes
    faults += _duplicates(whole, places, names)
    facts = DataFacts(
        source="counted",
        format=how.form,
        rows=len(whole.hashes),
        sha256=files.sha256,
        columns=tuple(first),
        read_as=dict(how.reading.columns),
        found_names=dict(how.reading.found),
        missing_columns={ours: near for ours, near in missing(how.rules, first).items() if not whole.found[ours]},
        max_length=how.max_length,
        no_lengths=None if isinstance(found, Tokens) else found.message,
        rows_nothing_learnt=whole.counts["nothing_learnt"],
        rows_broken=whole.counts["syntax"],
        rows_misshapen=whole.counts["form"],
        rows_duplicate=whole.counts["duplicate"],
        rows_roles_out_of_order=whole.counts["roles"],
        rows_unrenderable=whole.counts["template"],
        rows_incomplete=whole.counts["incomplete"],
        rows_border_merged=whole.counts["border"],
        rows_blank=whole.counts["blank"],
        rows_with_two_begins=whole.counts["two_begins"],
        rows_with_special_tokens=whole.counts["special"],
        rows_with_secrets=whole.counts["secret"],
        rows_with_personal_data=whole.counts["personal"],
        private=dict(whole.private.most_common()),
        unread_columns=dict(whole.unread),
        renamed_roles=dict(sorted(whole.renamed.items())),
        lacking_tokens=dict(lacking(found, how.rules)) if isinstance(found, Tokens) else {},
        template_asks=_asks(found, how),
        ends=ends.usual(whole.ends),
        unknown_marks=_unknown_marks(found, how),
        never_ends=_template(found, how) is not None and not whole.ends and _is_whole(whole, how),
        eos_token=found.eos if isinstance(found, Tokens) else None,
        faults=_first_of_each(faults),
    )
    known = isinstance(found, Tokens) and len(whole.lengths) > 0
    figures = _figures(whole.lengths, whole.learnt, how.max_length) if known else {}
    figures |= {"pieces": len(whole.lengths) - len(whole.hashes), "unlearnt_tokens": whole.unlearnt} if known else {}
    return Counted(facts.model_copy(update=figures), names, whole.hashes, places)


def _figures(lengths: array[int], learnt: array[int], longest: int) -> dict[str, object]:
    counts = sorted(Counter(lengths).items())
    kept = sum(1 for wanted in learnt if wanted)
    tokens = sum(min(length, longest) for length, wanted in zip(lengths, learnt, strict=True) if wanted)
    return {
        "tokens": tokens,
        "learnt_tokens": sum(learnt),
        "mean_tokens": tokens / max(kept, 1),
        "percentiles": {str(share): percentile(counts, share) for share in (50, 90, 99, 100)},
        "length_for_99_percent": percentile(counts, 99),
        "length_counts": tuple(counts),
        "rows_cut": sum(rows for length, rows in counts if length > longest),
    }


def _asks(found: Tokens | Problem, how: How) -> bool:
    template = _template(found, how)
    return template is None or template.asks


def _template(found: Tokens | Problem, how: How) -> Template | None:
    is_laid_out = how.form == "messages" or is_chat(how.form, how.rules)
    return found.template_for(None) if isinstance(found, Tokens) and is_laid_out else None


def _is_whole(whole: Tally, how: How) -> bool:
    """Whether some row is learnt from to its end: what is cut has none."""
    pairs = zip(whole.lengths, whole.learnt, strict=True)
    return any(learnt and length <= how.max_length for length, learnt in islice(pairs, ends.ROWS))


def _unknown_marks(found: Tokens | Problem, how: How) -> tuple[str, ...]:
    """Of a template that the recipe names: the model's own is made for its tokenizer."""
    template = _template(found, how) if how.rules.chat_template is not None else None
    return ends.unknown_marks(template, found) if template is not None and isinstance(found, Tokens) else ()


def _duplicates(whole: Tally, places: Places, names: Sequence[str]) -> Iterator[RowFault]:
    """The first few; all are counted."""
    pairs = list[tuple[int, int]]()
    parts = len(whole.hashes) // AT_ONCE + 1
    for part in range(parts):
        first: dict[int, int] = {}
        found = 0
        for number, one in enumerate(whole.hashes):
            if one % parts == part and (before := first.setdefault(one, number)) != number:
                found += 1
                if found <= FAULTS_KEPT:
                    pairs.append((number, before))
        whole.counts["duplicate"] += found
    for number, before in sorted(pairs)[:FAULTS_KEPT]:
        file, line = places.of(number, names)
        other, at = places.of(before, names)
        message = f"the same as line {at}" + ("" if other == file else f" of {other}")
        yield RowFault(file=file, line=line, kind="duplicate", message=message)


def _first_of_each(faults: Sequence[RowFault]) -> tuple[RowFault, ...]:
    kept: Counter[str] = Counter()
    result = []
    for fault in faults:
        kept[fault.kind] += 1
        if kept[fault.kind] <= FAULTS_KEPT:
            result.append(fault)
    return tuple(result)


def overlapping(second: Counted, first: Sequence[Counted]) -> DataFacts:
    """The second's facts, with how many of its rows stand in one of the first."""
    wanted = set(second.hashes)
    known = {one for source in first for one in source.hashes if one in wanted}
    same = [number for number, one in enumerate(second.hashes) if one in known]
    places = (second.places.of(number, second.names) for number in same[:FAULTS_KEPT])
    faults = [
        RowFault(file=file, line=line, kind="in_train", message="it stands in the training data too")
        for file, line in places
    ]
    return second.facts.model_copy(update={"rows_in_train": len(same), "faults": (*second.facts.faults, *faults)})
