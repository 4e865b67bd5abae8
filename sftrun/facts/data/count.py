"""Data files -> facts: rows, lengths, what is cut, what is learnt, what is wrong; streamed, in parallel, remembered.

Two processes share a file by stretches of bytes; what comes back is 24 bytes a row.  Facts are kept by content (files,
tokenizer, settings), so that a second look at unchanged data reads one small file.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

from sftrun.contract.row_rules import RowRules
from sftrun.errors import Problem
from sftrun.facts.data import remembered, tally
from sftrun.facts.data.tally import How, Tally, Work, labeller, tally_with
from sftrun.facts.data.totals import Counted, overlapping, summed
from sftrun.facts.values import DataFacts
from sftrun.rows import tokenizer
from sftrun.rows.find import SUFFIXES, Files, kind
from sftrun.rows.forms import form_of
from sftrun.rows.pieces import Disagreement
from sftrun.rows.plain import Row
from sftrun.rows.read import Stretch, stretches, whole
from sftrun.rows.tokenizer import Tokens

WORTH_TWO_PROCESSES = 8_000_000
Progress = Callable[[int, int], None]


def data_facts(
    train: Files,
    evaluation: Files | None,
    rules: RowRules,
    max_length: int,
    tokenizer_folder: Path | None,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> tuple[DataFacts | Problem | None, DataFacts | Problem | None]:
    """Facts of the training rows and of the validation rows, None for a source without files here.

    `progress` hears (bytes done, bytes in all).
    """
    first, second = (
        count(files, rules, max_length, tokenizer_folder, cache_dir=cache_dir, progress=progress, processes=processes)
        if files is not None and files.paths
        else None
        for files in (train, evaluation)
    )
    if isinstance(first, Counted) and isinstance(second, Counted):
        return first.facts, overlapping(second, first)
    return _facts(first), _facts(second)


def count(
    files: Files,
    rules: RowRules,
    max_length: int,
    tokenizer_folder: Path | None,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Counted | Problem:
    """One source."""
    paths = [Path(path) for path in files.paths]
    refused = next((problem for path in paths if (problem := _refused(path)) is not None), None)
    if refused is not None:
        return refused
    spec = tokenizer.read(tokenizer_folder, rules)
    try:
        how, columns = _decided(rules, max_length, paths)
        key = remembered.key(files, how, spec)
        known = remembered.load(cache_dir, key)
        if known is None:
            found = tokenizer.load(tokenizer_folder, rules)
            known = _counted(files, how, columns, found, progress, processes)
            # files that are there and can't be understood may be by another version of the library
            if isinstance(found, Tokens) or isinstance(spec, Problem):
                remembered.store(cache_dir, key, known)
        return known
    except OSError as error:
        return Problem("missing", f"`{error.filename}` can't be read: {error.strerror}", "check its permissions")


def _facts(found: Counted | Problem | None) -> DataFacts | Problem | None:
    return found.facts if isinstance(found, Counted) else found


def row_at(paths: Sequence[Path], number: int) -> tuple[str, int, Row] | None:
    """(file, line, row) of the row of that number, from 1; broken lines are no rows."""
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


def decided(rules: RowRules, max_length: int, paths: Sequence[Path]) -> How | None:
    """How these files' rows become labels; None for columns of no known form."""
    return _decided(rules, max_length, paths)[0]


def _decided(rules: RowRules, max_length: int, paths: Sequence[Path]) -> tuple[How | None, tuple[str, ...]]:
    columns = tuple(str(column) for column in first_row(paths))
    # without a single whole row any form does: all that is found is what is broken
    form = form_of(rules, columns) if columns else "text" if rules.format == "auto" else rules.format
    return (None if form is None else How(rules, form, max_length)), columns


def _refused(path: Path) -> Problem | None:
    if kind(path) is None:
        return Problem("unsafe", f"`{path}` is no kind of data that can be read", f"use one of {', '.join(SUFFIXES)}")
    if kind(path) == ".parquet" and find_spec("pyarrow") is None:
        return Problem("unknown", f"`{path}` needs `pyarrow` to be looked into", "run `pip install pyarrow`")
    return None


def _counted(
    files: Files,
    how: How | None,
    columns: tuple[str, ...],
    found: Tokens | Problem,
    progress: Progress | None,
    processes: int | None,
) -> Counted:
    size = sum(Path(path).stat().st_size for path in files.paths)
    if how is None:
        rows = 1 if columns else 0
        facts = DataFacts(source="counted", format=None, rows=rows, columns=columns, bytes=size, sha256=files.sha256)
        return Counted(facts)
    folder = found.folder if isinstance(found, Tokens) else None
    parts = [stretch for path in files.paths for stretch in stretches(Path(path))]
    try:
        tallies = list(_tallies(parts, Work(how, folder), found, size, progress, processes))
    except Disagreement:
        slow = Work(how, folder, whole_texts=True)
        tallies = list(_tallies(parts, slow, found, size, progress, processes))
    return _sized(summed(parts, tallies, files, how, columns, found), size)


def _sized(counted: Counted, size: int) -> Counted:
    return replace(counted, facts=counted.facts.model_copy(update={"bytes": size}))


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
    if processes < 2:
        one = labeller(work, found)
        yield from (tally_with(part, work, one) for part in parts)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # each process has one core: threads inside them would only wait for each other
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with ProcessPoolExecutor(processes, get_context("spawn"), tally.prepare, (work,)) as pool:
        yield from pool.map(tally.tally, parts)
