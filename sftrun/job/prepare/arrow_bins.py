"""Rows -> bins of at most `size` tokens, as Arrow (`rows.bins` says which rows go together)."""

from itertools import accumulate

import pyarrow  # type: ignore[import-untyped]
import pyarrow.compute  # type: ignore[import-untyped]

from sftrun.rows.bins import best_fit

SCHEMA = pyarrow.schema({name: pyarrow.list_(pyarrow.int32()) for name in ("input_ids", "labels", "seq_lengths")})


def pack(rows: pyarrow.Table, size: int, seed: int | None) -> pyarrow.RecordBatch:
    """One row a bin: its rows' `input_ids` and `labels`, and `seq_lengths`, as TRL's packed collator reads them."""
    lengths = pyarrow.compute.list_value_length(rows["input_ids"]).to_pylist()
    bins = best_fit(lengths, size, seed)
    order = pyarrow.array([row for rows_of in bins for row in rows_of], pyarrow.int64())
    taken = pyarrow.array(lengths, pyarrow.int32()).take(order)
    rows_ends = list(accumulate(map(len, bins), initial=0))
    token_ends = list(accumulate((sum(lengths[row] for row in rows_of) for rows_of in bins), initial=0))
    columns = [_lists(rows[name].combine_chunks().take(order).flatten(), token_ends) for name in SCHEMA.names[:2]]
    return pyarrow.RecordBatch.from_arrays([*columns, _lists(taken, rows_ends)], schema=SCHEMA)


def _lists(values: pyarrow.Array, ends: list[int]) -> pyarrow.ListArray:
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), values)
