"""The cells that are measured: those that calibrate, and others (other shapes, other batches) that only judge.

`BLIND` was written down, with the constants that judge it as they were shipped, before any of its cells had run.  Which
cells record CUDA graphs is as the plan had it then; `SINCE` are some of them as it has them now.
"""

from collections.abc import Iterator
from dataclasses import replace

from cells import Cell

FLAT8 = Cell("", layout="padding_free", batch=8)
FLAT16 = Cell("", layout="padding_free", batch=16)
FLAT32 = Cell("", layout="padding_free", batch=32)
PACK2 = Cell("", batch=2, max_length=1024)
PACK4 = Cell("", batch=4)
PACK8 = Cell("", batch=8)
PADDED = Cell("", layout="padded", batch=4, accumulation=2, optim="adamw_8bit")
PADDED16 = Cell("", layout="padded", batch=16)
SMALL_ROWS = 23  # as many rows of the census' lengths are a step that `plan.decide.room` records
SMALL = ("0.1b", "360m", "0.5b")  # so are packed ones of such models, and those of few tokens


def _group(
    shape: str, *batches: Cell, held_out: bool = False, stack: str = "compiled", **settings: int
) -> Iterator[Cell]:
    for batch in batches:
        small = batch.batch <= SMALL_ROWS if batch.layout == "padding_free" else batch is PACK2 or shape in SMALL
        graphs = small and stack == "compiled" and not settings.get("checkpointing", False)
        yield replace(batch, shape=shape, held_out=held_out, stack=stack, graphs=graphs, **settings)


GRID: tuple[Cell, ...] = (
    *_group("phi3-mini", PACK2, PACK4),
    *_group("3b", FLAT8, FLAT32, PACK4, held_out=True),
    *_group("phi3-mini", FLAT8, FLAT32, PACK4, dequantize=True),
    *_group("1b", FLAT8, FLAT16, PACK8, dequantize=True, held_out=True),
    *_group("0.5b", FLAT8, PACK2, PACK8, dequantize=True),
    *_group("7b", FLAT8, PACK2, FLAT16, dequantize=True, held_out=True),
    *_group("8b", FLAT8, PACK2, bits=16),
    *_group("0.1b", FLAT8, PACK8, bits=16, held_out=True),
    *_group("1.5b", FLAT8, PACK4, PACK8, checkpointing=True),
    *_group("8b", FLAT8, PACK2, PACK8, checkpointing=True, held_out=True),
    *_group("8b", PACK2, PACK4, dequantize=True),
    *_group("1.5b", FLAT32, PACK8, bits=16, held_out=True),
    *_group("phi3-mini", FLAT32, PACK8, checkpointing=True, dequantize=True),
    *_group("phi3-mini", PACK4, FLAT16, rank=64, dequantize=True, held_out=True),
    *_group("1.5b", FLAT8, FLAT32, PACK4, stack="fused", bits=16),
    *_group("3b", FLAT8, PACK2, dequantize=True, held_out=True),
    *_group("phi3-mini", FLAT8, PACK4, stack="fused"),
    *_group("0.5b", FLAT32, PACK8, checkpointing=True, held_out=True),
    *_group("1.5b", PADDED, PADDED16, stack="eager", checkpointing=True),
    *_group("3b", FLAT8, PACK4, stack="fused", held_out=True),
    *_group("phi3-mini", PADDED, stack="eager", checkpointing=True),
    *_group("1b", FLAT8, PACK8, stack="fused", bits=16, held_out=True),
    *_group("3b", PADDED, PADDED16, stack="eager", checkpointing=True, held_out=True),
)


def _packed(batch: int, max_length: int = 2048) -> Cell:
    return Cell("", batch=batch, max_length=max_length)


def _flat(batch: int) -> Cell:
    return Cell("", layout="padding_free", batch=batch)


def _padded(batch: int, accumulation: int = 1) -> Cell:
    return Cell("", layout="padded", batch=batch, accumulation=accumulation, optim="adamw_8bit")


# CUDA graphs last: what follows them in their process is charged for their memory
BLIND: tuple[Cell, ...] = (
    *_group("tinyllama", _packed(6), _flat(24), _flat(12), dequantize=True, held_out=True),
    *_group("llama3-3b", _packed(4), _packed(12, 1024), _flat(10), rank=32, dequantize=True, held_out=True),
    *_group("mistral-7b", _packed(3), _flat(24), _flat(6), dequantize=True, held_out=True),
    *_group("mistral-7b", _packed(6), _packed(1, 4096), _flat(48), rank=8, checkpointing=True, held_out=True),
    *_group("qwen-7b", _packed(4), _flat(32), checkpointing=True, held_out=True),
    *_group("qwen-7b", _packed(2), _flat(8), bits=16, held_out=True),
    *_group("1.7b", _packed(10, 1024), _flat(40), _flat(4), bits=16, held_out=True),
    *_group("360m", _flat(40), _packed(16, 1024), _flat(20), dequantize=True, held_out=True),
    *_group("14b", _packed(4), _flat(32), checkpointing=True, held_out=True),
    *_group("phi3-mini", _packed(10), _flat(24), _flat(5), rank=32, dequantize=True, held_out=True),
    *_group("1.7b", _packed(12), _flat(64), checkpointing=True, held_out=True),
    *_group("360m", _packed(16), bits=16, checkpointing=True, held_out=True),
    *_group("llama3-3b", _packed(3), _flat(12), stack="fused", held_out=True),
    *_group("tinyllama", _packed(5), _flat(20), stack="fused", bits=16, held_out=True),
    *_group("llama3-3b", _padded(4, 2), _padded(12), stack="eager", checkpointing=True, held_out=True),
    *_group("tinyllama", _padded(8), stack="eager", checkpointing=True, held_out=True),
)
SINCE = tuple(
    replace(cell, graphs=True)
    for cell in BLIND
    if cell.stack == "compiled"
    and cell.layout == "padding_free"
    and not cell.checkpointing
    and (cell.shape, cell.batch) in {("tinyllama", 24), ("360m", 40), ("1.7b", 40), ("phi3-mini", 24)}
)
