"""Data files -> facts: rows, lengths, what is cut, what is learnt, what is wrong; streamed, in parallel, remembered.

Two processes share a file by stretches of bytes; what comes back is 24 bytes a row.  Facts are kept by content (files,
tokenizer, settings), so that a second look at unchanged data reads one small file.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from sftrun.contract.row_rules import RowRules
from sftrun.errors import Problem
from sftrun.facts.data import remembered, tally
from sftrun.facts.data.tally import How, Tally, Work, labeller, tally_with
from sftrun.facts.data.totals import Counted, overlapping, summed
from sftrun.facts.values import DataFacts
from sftrun.rows import columns, tokenizer
from sftrun.rows.columns import Reading
from sftrun.rows.pieces import Disagreement
from sftrun.rows.plain import Row
from sftrun.rows.raw import packed
from sftrun.rows.raw.find import SUFFIXES, Files, kind
from sftrun.rows.raw.read import Stretch, stretches, whole
from sftrun.rows.raw.tables import divided_by
from sftrun.rows.tokenizer import Tokens

WORTH_TWO_PROCESSES = 8_000_000
Progress = Callable[[int, int], None]


class Asked(NamedTuple):
    """One source: its files, how its rows are read, and how many of them at most."""

    files: Files
    rules: RowRules
    most: int | None = None


Found = DataFacts | Problem | None


def data_facts(
    train: Sequence[Asked],
    evaluation: Sequence[Asked],
    max_length: int,
    tokenizer_folder: Path | None,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> tuple[list[Found], list[Found]]:
    """Facts of each source of training rows and of validation rows, None for one without files here.

    `progress` hears (bytes done, bytes in all).
    """
    first, second = (
        [
            count(one, max_length, tokenizer_folder, cache_dir=cache_dir, progress=progress, processes=processes)
            if one.files.paths
            else None
            for one in sources
        ]
        for sources in (train, evaluation)
    )
    known = [one for one in first if isinstance(one, Counted)]
    held_out = [overlapping(one, known) if isinstance(one, Counted) and known else _facts(one) for one in second]
    return [_facts(one) for one in first], held_out


def count(
    asked: Asked,
    max_length: int,
    tokenizer_folder: Path | None,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Counted | Problem:
    """One source."""
    files, rules, most = asked
    paths = [Path(path) for path in files.paths]
    refused = next((problem for path in paths if (problem := _refused(path)) is not None), None)
    if refused is not None:
        return refused
    spec = tokenizer.read(tokenizer_folder, rules)
    try:
        first = first_row(paths)
        how = _decided(rules, max_length, first, most)
        key = remembered.key(files, how, spec)
        known = remembered.load(cache_dir, key)
        if known is None:
            found = tokenizer.load(tokenizer_folder, rules)
            known = _counted(files, how, found, progress, processes) if how else _formless(files, rules, first)
            known = _of_files(known, paths)
            # files that are there and can't be understood may be by another version of the library
            if isinstance(found, Tokens) or isinstance(spec, Problem):
                remembered.store(cache_dir, key, known)
        return known
    except OSError as error:
        return Problem("missing", f"`{error.filename}` can't be read: {error.strerror}", "check its permissions")


def _facts(found: Counted | Problem | None) -> Found:
    return found.facts if isinstance(found, Counted) else found


def row_at(paths: Sequence[Path], number: int) -> tuple[str, int, Row] | None:
    """(file, line, row) of the row of that number, from 1, under its own names; broken lines are no rows."""
    seen = 0
    for path in paths:
        for line, row in whole(path):
            seen += isinstance(row, dict)
            if isinstance(row, dict) and seen == number:
                return str(path), line, row
    return None


def first_row(paths: Sequence[Path]) -> Row:
    """The first whole row; empty if there is none."""
    for path in paths:
        for _, row in whole(path):
            if isinstance(row, dict):
                return row
    return {}


def decided(rules: RowRules, max_length: int, paths: Sequence[Path], most: int | None = None) -> How | None:
    """How these files' rows become labels; None for columns of no known form."""
    return _decided(rules, max_length, first_row(paths), most)


def _decided(rules: RowRules, max_length: int, first: Row, most: int | None) -> How | None:
    # without a single whole row any form does: all that is found is what is broken
    found = columns.reading(rules, first) if first else Reading("text" if rules.format == "auto" else rules.format)
    return None if found is None else How(rules, found, max_length, most)


def _refused(path: Path) -> Problem | None:
    if kind(path) is None:
        return Problem("unsafe", f"`{path}` is no kind of data that can be read", f"use one of {', '.join(SUFFIXES)}")
    return packed.refused(path)


def _formless(files: Files, rules: RowRules, first: Row) -> Counted:
    facts = DataFacts(
        source="counted",
        format=None,
        rows=1 if first else 0,
        columns=tuple(first),
        missing_columns=columns.missing(rules, first) if first else {},
        sha256=files.sha256,
    )
    return Counted(facts)


def _counted(
    files: Files, how: How, found: Tokens | Problem, progress: Progress | None, processes: int | None
) -> Counted:
    size = sum(Path(path).stat().st_size for path in files.paths)
    folder = found.folder if isinstance(found, Tokens) else None
    parts = [stretch for path in files.paths for stretch in stretches(Path(path))]
    try:
        tallies = list(_tallies(parts, Work(how, folder), found, size, progress, processes))
    except Disagreement:
        slow = Work(how, folder, whole_texts=True)
        tallies = list(_tallies(parts, slow, found, size, progress, processes))
    return summed(parts, tallies, files, how, first_row([Path(path) for path in files.paths]), found)


def _of_files(counted: Counted, paths: Sequence[Path]) -> Counted:
    """With what the files themselves say."""
    sign = next((sign for path in paths if (sign := divided_by(path)) is not None), None)
    figures = {"bytes": sum(path.stat().st_size for path in paths), "divided_by": sign}
    return replace(counted, facts=counted.facts.model_copy(update=figures))


def _tallies(
    parts: Sequence[Stretch],
    work: Work,
    found: Tokens | Problem,
    size: int,
    progress: Progress | None,
    processes: int | None,
) -> Iterator[Tally]:
    done = list(accumulate((part.end or 0) - part.begin for part in parts))
    wanted = min(processes or os.cpu_count() or 1, len(parts), 8)
    for number, result in enumerate(_results(parts, work, found, wanted if size >= WORTH_TWO_PROCESSES else 1)):
        if progress is not None:
            progress(done[number] if done[number] > 0 else size, size)
        yield result


def _results(parts: Sequence[Stretch], work: Work, found: Tokens | Problem, processes: int) -> Iterator[Tally]:
    if processes < 2 or work.how.most is not None:
        one, left = labeller(work, found), work.how.most
        for part in parts:
            result = tally_with(part, work, one, left)
            left = None if left is None else left - result.given
            yield result
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # each process has one core: threads inside them would only wait for each other
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with ProcessPoolExecutor(processes, get_context("spawn"), tally.prepare, (work,)) as pool:
        yield from pool.map(tally.tally, parts)
