"""Frozen 4-bit weights, dequantised: once for all, or anew for each product that needs them.

bitsandbytes holds 64 weights as 64 indices of 4 bits and one scale, and quantises the scales once more.  Here the
scales are kept as fp32 (1/16 byte a parameter), so that a weight is one table look-up and one product away.  `linear`
makes the matrix Ŵ = [W | B] of `fused_lora` for each product and drops it again; it is one opaque operator, so that
the compiler neither keeps Ŵ for the backward pass nor merges the two passes' copies.  On a GPU a Triton kernel
unpacks; elsewhere plain torch does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sftrun.step.fused import BLOCK, stays_packed


def is_quantized(base: nn.Module) -> bool:
    """Whether bitsandbytes holds the layer's weights in 4 bits."""
    return getattr(base.weight, "quant_state", None) is not None


def compute_dtype(base: nn.Module) -> torch.dtype:
    """What the layer's products are computed in."""
    chosen: torch.dtype = getattr(base, "compute_dtype", None) or base.weight.dtype
    return chosen


def dense(base: nn.Module) -> Tensor:
    """The weights (out, in) in the layer's compute dtype; from NF4 exactly the values that bitsandbytes multiplies
    with.
    """
    if not is_quantized(base):
        return base.weight.detach()
    import bitsandbytes.functional as bnb

    return bnb.dequantize_4bit(base.weight.data, base.weight.quant_state).to(compute_dtype(base))


def can_fuse(bases: Sequence[nn.Module]) -> bool:
    """Whether siblings can stand in one packed matrix: 4-bit, blocks of 64 that end with a row, one table."""
    return all(
        is_quantized(base) and base.weight.quant_state.blocksize == BLOCK and stays_packed(base.in_features)
        for base in bases
    )


@dataclass(frozen=True)
class Packed:
    """Siblings' 4-bit weights, one below the other: (rows, inputs / 2) bytes, (rows, inputs / 64) scales."""

    packed: Tensor
    scales: Tensor
    table: Tensor
    dtype: torch.dtype

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """As `linear` and `gradient` take them."""
        return self.packed, self.scales, self.table

    @classmethod
    def fuse(cls, bases: Sequence[nn.Module]) -> "Packed":
        """Lay the weights together; the layers' own become views of the whole, so no memory is used twice."""
        rows = [base.out_features for base in bases]
        packed = torch.cat(
            [base.weight.data.view(torch.uint8).reshape(row, -1) for base, row in zip(bases, rows, strict=True)]
        )
        scales = torch.cat(
            [_scales(base.weight.quant_state).view(row, -1) for base, row in zip(bases, rows, strict=True)]
        )
        for base, part in zip(bases, packed.split(rows), strict=True):
            base.weight.data = part.view(base.weight.data.dtype).view(base.weight.data.shape)
        return cls(packed, scales, bases[0].weight.quant_state.code.float(), compute_dtype(bases[0]))


def widen(packed: Tensor, scales: Tensor, table: Tensor, tail: Tensor) -> Tensor:
    """Ŵ (rows, inputs + tail's columns), in tail's dtype."""
    rows, inputs = packed.shape[0], packed.shape[1] * 2
    wide = tail.new_empty(rows, inputs + tail.shape[1])
    if wide.is_cuda:
        from sftrun.job.fast.nf4_triton import unpack_into

        unpack_into(wide, packed, scales, table)
    else:
        indices = torch.stack([packed >> 4, packed & 15], dim=-1).view(rows, inputs)
        values = table[indices.long()].view(rows, -1, BLOCK) * scales.unsqueeze(-1)
        wide[:, :inputs] = values.view(rows, inputs)
    wide[:, inputs:] = tail
    return wide


@torch.library.custom_op("sftrun::nf4_linear", mutates_args=())
def linear(x: Tensor, packed: Tensor, scales: Tensor, table: Tensor, tail: Tensor, bias: Tensor | None) -> Tensor:
    """x̂ Ŵᵀ (+ bias)."""
    return F.linear(x, widen(packed, scales, table, tail), bias)


@linear.register_fake
def _(x: Tensor, packed: Tensor, scales: Tensor, table: Tensor, tail: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], packed.shape[0])


@torch.library.custom_op("sftrun::nf4_gradient", mutates_args=())
def gradient(
    grads: list[Tensor], packed: Tensor, scales: Tensor, table: Tensor, tail: Tensor,
    a: Tensor, scale: float, is_inner: bool,
) -> Tensor:  # fmt: skip
    """`input_gradient` by a Ŵ that is made for it."""
    wide = widen(packed, scales, table, tail) if is_inner else tail
    return input_gradient(grads, wide, a, scale, is_inner)


@gradient.register_fake
def _(
    grads: list[Tensor], packed: Tensor, scales: Tensor, table: Tensor, tail: Tensor,
    a: Tensor, scale: float, is_inner: bool,
) -> Tensor:  # fmt: skip
    columns = tail.shape[1] + is_inner * packed.shape[1] * 2
    return grads[0].new_empty(grads[0].shape[0], columns)


def input_gradient(grads: Sequence[Tensor], wide: Tensor, a: Tensor, scale: float, is_inner: bool) -> Tensor:
    """[dx | s dy B] from dx̂ = Σ dyᵢ Ŵᵢ: dx = dy W + (s dy B) A.  Without dx where nothing trains before x.

    The sums are in place: concatenating the dyᵢ first would copy the largest tensors of the step, and a sum of its own
    would read dx once more.
    """
    width = a.shape[0]
    parts = (wide if is_inner else wide[:, -width:]).split([grad.shape[1] for grad in grads])
    total = grads[0] @ parts[0]
    for grad, part in zip(grads[1:], parts[1:], strict=True):
        total.addmm_(grad, part)
    down = total[:, -width:].mul_(scale)
    if is_inner:
        total[:, :-width].addmm_(down, a)
    return total


def _scales(state: Any) -> Tensor:
    """One fp32 scale for each block; those of double quantisation are dequantised."""
    if not state.nested:
        return state.absmax.float()
    import bitsandbytes.functional as bnb

    return (bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset).float()
