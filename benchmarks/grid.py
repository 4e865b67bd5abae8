"""The cells that are measured: those that calibrate, and others (other shapes, other batches) that only judge."""

from collections.abc import Iterator
from dataclasses import replace

from cells import Cell

FLAT8 = Cell("", layout="flat", batch=8)
FLAT32 = Cell("", layout="flat", batch=32)
PACK2 = Cell("", batch=2, max_length=1024)
PACK4 = Cell("", batch=4)
PACK8 = Cell("", batch=8)
FOUR_TWO = Cell("", layout="flat", batch=4, accumulation=2)
PADDED = Cell("", layout="padded", batch=4, accumulation=2, stack="eager", optim="adamw_8bit")
PADDED16 = Cell("", layout="padded", batch=16, stack="eager")


def _group(shape: str, *batches: Cell, held_out: bool = False, **settings: object) -> Iterator[Cell]:
    for batch in batches:
        yield replace(batch, shape=shape, held_out=held_out, **settings)  # type: ignore[arg-type]


GRID: tuple[Cell, ...] = (
    *_group("phi3-mini", FLAT8, FLAT32, PACK2, PACK8),
    *_group("0.5b", FLAT8, PACK2, PACK8, dequantize=True),
    *_group("8b", FLAT8, PACK2, PACK4, bits=16),
    *_group("1.5b", FLAT8, PACK4, PACK8, checkpointing=True),
    *_group("7b", FLAT8, PACK2, PACK4, dequantize=True, held_out=True),
    *_group("3b", FLAT8, FLAT32, PACK4, held_out=True),
    *_group("1b", FLAT8, FOUR_TWO, PACK8, dequantize=True, held_out=True),
    *_group("phi3-mini", FLAT32, PACK8, checkpointing=True, dequantize=True),
    *_group("8b", FLAT8, PACK2, PACK8, checkpointing=True, held_out=True),
    *_group("0.1b", FLAT8, PACK8, bits=16, held_out=True),
    *_group("1.5b", PADDED, PADDED16, stack="eager", checkpointing=True),
    *_group("phi3-mini", PADDED, PADDED16, stack="eager", checkpointing=True),
    *_group("3b", PADDED, PADDED16, stack="eager", checkpointing=True, held_out=True),
    *_group("phi3-mini", FLAT8, PACK8, stack="fused"),
    *_group("1.5b", FLAT8, FLAT32, PACK4, stack="fused", bits=16),
    *_group("3b", FLAT8, PACK4, stack="fused", held_out=True),
    *_group("1b", FLAT8, PACK8, stack="fused", bits=16, held_out=True),
    *_group("1.5b", FLAT32, PACK8, bits=16, held_out=True),
    *_group("phi3-mini", PACK4, FOUR_TWO, rank=64, held_out=True),
    *_group("0.5b", FLAT8, PACK8, stack="liger"),
    *_group("phi3-mini", FLAT8, PACK8, stack="liger"),
    *_group("3b", FLAT8, PACK4, stack="liger", held_out=True),
)
