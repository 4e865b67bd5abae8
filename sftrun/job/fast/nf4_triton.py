"""The GPU's side of `nf4`: unpack 4-bit weights into the left columns of a wider matrix.

bitsandbytes' own kernel writes a matrix without gaps; LoRA's columns need one with.  Imported on a GPU alone, since
Triton is not on every machine.
"""

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]

TILE = 512  # bytes a program


@triton.jit
def _unpack(  # type: ignore[no-untyped-def]
    packed,
    scales,
    table,
    wide,
    row_bytes,
    row_scales,
    row_stride,
    TILE: tl.constexpr,  # noqa: N803
):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = at < row_bytes
    pair = tl.load(packed + row * row_bytes + at, mask=inside, other=0).to(tl.int32)
    scale = tl.load(scales + row * row_scales + at // 32, mask=inside, other=0.0)  # 32 bytes are 64 weights
    first = (tl.load(table + (pair >> 4)) * scale).to(wide.dtype.element_ty)
    second = (tl.load(table + (pair & 15)) * scale).to(wide.dtype.element_ty)
    columns = tl.program_id(1) * TILE * 2 + tl.arange(0, TILE * 2)
    tl.store(wide + row * row_stride + columns, tl.interleave(first, second), mask=columns < row_bytes * 2)


def unpack_into(wide: torch.Tensor, packed: torch.Tensor, scales: torch.Tensor, table: torch.Tensor) -> None:
    """Write the (rows, inputs) weights into `wide[:, :inputs]`."""
    rows, row_bytes = packed.shape
    grid = (rows, triton.cdiv(row_bytes, TILE))
    _unpack[grid](packed, scales, table, wide, row_bytes, scales.shape[1], wide.stride(0), TILE=TILE, num_warps=4)
