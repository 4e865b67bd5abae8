"""Rows -> Arrow files of token ids and labels, by shards: on several cores, in order, resumable.

A shard's file stands whole or not at all, with its counts inside, so that a killed preparation goes on where it was.
Bytes are the same however many processes made them.  Processes are forked: they read rows where these lie (`spool`).
Packing looks at 20,000 rows at a time, on any number of cores.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import pyarrow  # type: ignore[import-untyped]

from sftrun.contract.jobspec import JobSpec
from sftrun.disk import files
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import arrow_bins
from sftrun.job.prepare.learnable import Ids, Learnable, label
from sftrun.job.prepare.source_rows import Rows
from sftrun.job.supervise.process import die_with_parent
from sftrun.rows.labels import Labeller
from sftrun.strict import Strict

ROWS = 2_000
PACKED_ROWS = 20_000
_COUNTS = b"sftrun"
SCHEMA = pyarrow.schema({"input_ids": pyarrow.list_(pyarrow.int32()), "labels": pyarrow.list_(pyarrow.int32())})
Result = TypeVar("Result")


class Counts(Strict):
    """What became of rows: `rows` of `given` are learnt from, and of texts in several pieces `pieces` more.

    `first_dropped` is the first one's index that is not learnt from.
    `ends` are the tokens that learnt stretches end with, and how often, in some of the rows.
    """

    given: int = 0
    rows: int = 0
    cut: int = 0
    pieces: int = 0
    tokens: int = 0
    learnt_tokens: int = 0
    first_dropped: int | None = None
    ends: dict[str, int] = {}

    def __add__(self, other: "Counts") -> "Counts":
        """Of these rows and those that follow them."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        dropped = other.first_dropped
        first = self.first_dropped if dropped is None or self.first_dropped is not None else self.given + dropped
        return Counts(**sums, first_dropped=first, ends=Counter(self.ends) + Counter(other.ends))


_SUMMED = ("given", "rows", "cut", "pieces", "tokens", "learnt_tokens")


@dataclass(frozen=True)
class Crew:
    """Who does the work: this process, or several forked from it.  `between` is called between shards."""

    processes: int = 1
    between: Callable[[], None] = lambda: None

    def each(self, work: Callable[[int], Result], count: int) -> Iterator[Result]:
        """`work(0)`, `work(1)` … in order."""
        if min(self.processes, count) < 2:
            for index in range(count):
                self.between()
                yield work(index)
            return
        pool = ProcessPoolExecutor(
            min(self.processes, count), get_context("fork"), initializer=_inherit, initargs=(work,)
        )
        try:
            for result in pool.map(_work, range(count)):
                self.between()
                yield result
        except BrokenProcessPool:
            help = "run it again; if it is killed again, memory is short"
            raise JobFailure("killed", "a process that tokenises was killed", help) from None
        finally:
            pool.shutdown(cancel_futures=True)


def tokenise(rows: Rows, labeller: Labeller, stem: Path, crew: Crew) -> tuple[list[Path], Counts]:
    """The shards' files, `stem-00000.arrow` …, and what they came to."""
    paths = _numbered(stem, len(rows), ROWS)

    def shard(index: int) -> Counts:
        known = _read_counts(paths[index])
        if known is not None:
            return known
        part = slice(index * ROWS, (index + 1) * ROWS)
        own = rows.rows[part]
        made = label(own, rows.places[part], labeller)
        counts = _count(made, len(own))
        schema = SCHEMA.with_metadata({_COUNTS: counts.model_dump_json()})
        write(paths[index], schema, [_batch(made)])
        return counts

    return paths, sum(crew.each(shard, len(paths)), Counts())


def pack(source: Path, spec: JobSpec, stem: Path, crew: Crew) -> list[Path]:
    """The rows of a file in bins of `max_length`."""
    from datasets import Dataset

    rows = Dataset.from_file(str(source)).data.table
    paths = _numbered(stem, len(rows), PACKED_ROWS)

    def part(index: int) -> None:
        if _schema(paths[index]) is None:
            chosen = rows.slice(index * PACKED_ROWS, PACKED_ROWS)
            seed = index if spec.dataset.shuffle else None
            write(paths[index], arrow_bins.SCHEMA, [arrow_bins.pack(chosen, spec.trainer.max_length, seed)])

    for _ in crew.each(part, len(paths)):
        pass
    return paths


def join(paths: Sequence[Path], target: Path) -> None:
    """One file of several."""

    def batches() -> Iterator[Any]:
        for path in paths:
            with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as reader:
                yield from reader

    schema = _schema(paths[0])
    assert schema is not None
    write(target, schema.remove_metadata(), batches())


def write(path: Path, schema: Any, batches: Any) -> None:
    """A stream of record batches, as `datasets` maps it; beside first, then renamed."""
    with (
        files.replacing(path, durable=False) as beside,
        pyarrow.OSFile(str(beside), "wb") as file,
        pyarrow.ipc.new_stream(file, schema) as stream,
    ):
        for batch in batches:
            stream.write_batch(batch)


def _inherit(work: Callable[[int], Any]) -> None:
    global _inherited
    _inherited = work
    die_with_parent()


_inherited: Callable[[int], Any]


def _work(index: int) -> Any:
    return _inherited(index)


def _numbered(stem: Path, rows: int, each: int) -> list[Path]:
    return [stem.with_name(f"{stem.name}-{index:05}.arrow") for index in range(-(-rows // each))]


def _count(made: Learnable, given: int) -> Counts:
    return Counts(
        given=given,
        rows=len(made),
        cut=made.cut,
        pieces=made.pieces,
        tokens=made.tokens,
        learnt_tokens=made.learnt_tokens,
        first_dropped=made.dropped[0] if made.dropped else None,
        ends=made.ends,
    )


def _batch(made: Learnable) -> Any:
    return pyarrow.RecordBatch.from_arrays([_lists(made.input_ids), _lists(made.labels)], names=SCHEMA.names)


def _lists(rows: Sequence[Ids]) -> Any:
    """Arrow's list<int32>, from the rows' bytes and without an object for each token."""
    ends = list(accumulate(map(len, rows), initial=0))
    values = pyarrow.Array.from_buffers(pyarrow.int32(), ends[-1], [None, pyarrow.py_buffer(b"".join(rows))])
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), values)


def _read_counts(path: Path) -> Counts | None:
    schema = _schema(path)
    return None if schema is None else Counts.model_validate_json(schema.metadata[_COUNTS])


def _schema(path: Path) -> Any:
    """None where no whole file stands: a machine that lost its power leaves empty ones."""
    try:
        with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as reader:
            for _ in reader:
                pass
            return reader.schema
    except (OSError, pyarrow.ArrowInvalid):
        return None
