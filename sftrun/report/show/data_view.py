"""A data source and one of its rows, as text: the row as the model will see it, learnt tokens marked.

Learnt tokens are green, or stand between ⟦ and ⟧ where there is no colour; what is cut off is only counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sftrun.facts.values import DataFacts
from sftrun.report.show import figures
from sftrun.rows.labels import IGNORED, Labelled
from sftrun.rows.tokenizer import Tokens

BARS = 10
WIDTH = 40
_GREEN, _DIM, _END = "\x1b[32m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens that are all learnt, or all not."""

    text: str
    is_learnt: bool
    tokens: int


def runs(row: Labelled, tokens: Tokens) -> tuple[Run, ...]:
    """A row as it is cut, in runs.  The first token is never learnt: nothing predicts it."""
    learnt = [label != IGNORED and at > 0 for at, label in enumerate(row.labels)]
    found, begin, shown = [], 0, 0
    for is_learnt, group in groupby(learnt):
        count = len(list(group))
        # decoded from the beginning, so that a character of several tokens and a leading space come out right
        text = str(tokens.tokenizer.decode(list(row.ids[: begin + count]), skip_special_tokens=False))
        found.append(Run(text[shown:], is_learnt, count))
        begin, shown = begin + count, len(text)
    return tuple(found)


def row_lines(place: str, length: int, parts: Sequence[Run], *, begins_later: bool, colour: bool) -> Iterator[str]:
    """One row of `length` tokens under its heading; where it `begins_later`, its beginning is what was cut off."""
    learnt = sum(part.tokens for part in parts if part.is_learnt)
    text = "".join(_marked(part, colour) for part in parts)
    off = length - sum(part.tokens for part in parts)
    cut = [_dim(f"… cut here: {off:,} tokens more", colour)] if off else []
    yield f"{place}: {length:,} tokens, {learnt:,} learnt from"
    yield ""
    yield from (*cut, text) if begins_later else (text, *cut)


def summary_lines(name: str, facts: DataFacts) -> Iterator[str]:
    """Counts, lengths and a small histogram."""
    read = "" if facts.tokens is None else f", {facts.tokens:,} tokens"
    yield f"{name}: {facts.rows:,} rows ({facts.format or 'no known format'}){read}"
    if facts.read_as:
        names = ", ".join(f"{theirs} → {ours}" for ours, theirs in facts.read_as.items())
        yield f"  columns       {names}" + (" (names of a known form)" if facts.found_names == facts.read_as else "")
    if facts.divided_by is not None:
        yield f"  divided by    {'a tab' if facts.divided_by == chr(9) else facts.divided_by}"
    if facts.no_lengths is not None:
        yield f"  lengths not known: {facts.no_lengths}"
    if facts.tokens is not None and facts.length_counts:
        learnt = facts.learnt_tokens or 0
        yield f"  learnt from   {learnt:,} tokens, {figures.share(learnt, facts.tokens)}"
        shown = " · ".join(f"{_NAMES.get(share, share)} {length:,}" for share, length in facts.percentiles.items())
        yield f"  tokens a row  {shown} · `max_length` {facts.max_length:,}"
        lost = f", {facts.unlearnt_tokens:,} tokens that would be learnt" if facts.unlearnt_tokens else ""
        yield f"  cut           {facts.rows_cut:,} rows{lost}"
        if facts.pieces:
            yield f"  in pieces     {facts.rows + facts.pieces:,} pieces of {facts.rows:,} rows"
        yield ""
        yield from (f"  {line}" for line in histogram(facts.length_counts))


def cleaned_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What `data clean` kept and dropped, each reason with its first rows."""
    yield f"{told['rows']:,} rows, {told['kept']:,} kept in {told['output']}"
    for reason, found in told["dropped"].items():
        yield f"  {found['rows']:,} {_REASONS[reason]}"
        yield from (f"    {one['file']}:{one['line']}: {one['why']}" for one in found["first"])
        more = found["rows"] - len(found["first"])
        if more:
            yield f"    and {more:,} more"


_REASONS = {
    "broken": "that can't be read",
    "misshapen": "that are not of the format",
    "blank": "with nothing to learn",
    "duplicate": "that stand there already",
    "near_duplicate": "that nearly stand there already",
    "in_eval": "that stand in the eval data",
    "near_eval": "that nearly stand in the eval data",
}


def split_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What `data split` wrote."""
    train, evaluation = told["train"], told["eval"]
    share = figures.share(evaluation["rows"], train["rows"] + evaluation["rows"])
    yield f"{train['rows']:,} rows in {train['file']}"
    yield f"{evaluation['rows']:,} rows ({share}) in {evaluation['file']}"


_NAMES = {"50": "half up to", "90": "90 % up to", "99": "99 % up to", "100": "longest"}


def histogram(counts: Sequence[tuple[int, int]], bars: int = BARS, width: int = WIDTH) -> Iterator[str]:
    """Rows by length, in at most `bars` steps of a round number of tokens."""
    if not counts:
        return
    low, high = counts[0][0], counts[-1][0]
    step = _round_step((high - low + 1) / bars)
    first = low // step
    rows = [0] * (high // step - first + 1)
    for length, count in counts:
        rows[length // step - first] += count
    digits, most = len(f"{high:,}"), max(rows)
    for number, count in enumerate(rows):
        begin = (first + number) * step
        bar = "█" * round(width * count / most) or ("▏" if count else "")
        yield f"{begin:>{digits},} – {begin + step - 1:<{digits},}  {bar} {count:,}".rstrip()


def _round_step(wanted: float) -> int:
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor >= wanted:
                return step * factor
        step *= 10


def _marked(part: Run, colour: bool) -> str:
    text = figures.printable(part.text)
    if not part.is_learnt:
        return _dim(text, colour)
    return f"{_GREEN}{text}{_END}" if colour else f"⟦{text}⟧"


def _dim(text: str, colour: bool) -> str:
    return f"{_DIM}{text}{_END}" if colour else text
