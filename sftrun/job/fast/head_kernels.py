"""Log-probabilities over a frozen head, with the hidden states' gradient made in the same pass.

TRL's function makes the logits twice, once for each pass, so that it need not hold them.  Of a frozen head nothing but
the hidden states' gradient is wanted, and that is known with the log-probabilities but for one factor a token: so the
logits are made once, for a tile of tokens at a time, turned into their own gradient in place and multiplied with the
head at once.  Two products of the head instead of three, and no fp32 sum over tiles of the vocabulary.  The gradient
stays in fp32 until its factor is known, and is rounded once, as TRL's is.

Imported on a GPU alone, since Triton is not on every machine.
"""

from typing import Any

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

BLOCK = 4096  # logits that a program holds at once
TILE_LOGITS = 2**27  # of all tokens of a tile: 0.27 GB, as TRL's tiles have; larger ones gained nothing
TILE_TOKENS = 128  # a tile's tokens are a multiple of what a product's own tile has


class FrozenHeadLogProbs(torch.autograd.Function):
    """log p(target), fp32 (tokens,), of hidden states (tokens, hidden) over a head (vocabulary, hidden), both bf16."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        count, vocabulary = hidden.shape[0], weight.shape[0]
        rows = min(max(TILE_LOGITS // vocabulary // TILE_TOKENS, 1) * TILE_TOKENS, count)
        found = hidden.new_empty(count, dtype=torch.float32)
        gradient = torch.empty_like(hidden, dtype=torch.float32)
        tile = hidden.new_empty(rows, vocabulary)
        for first in range(0, count, max(rows, 1)):
            part = slice(first, min(first + rows, count))
            logits = tile[: part.stop - first]
            torch.mm(hidden[part], weight.t(), out=logits)
            _turn[(len(logits),)](logits, targets[part], found[part], vocabulary, BLOCK=BLOCK, num_warps=16)
            torch.mm(logits, weight, out_dtype=torch.float32, out=gradient[part])
        ctx.save_for_backward(gradient)
        ctx.dtype = hidden.dtype
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        scaled = torch.empty_like(gradient, dtype=ctx.dtype)
        return torch.mul(gradient, grads[0].unsqueeze(1), out=scaled), None, None


@triton.jit
def _turn(  # type: ignore[no-untyped-def]
    logits,
    targets,
    found,
    vocabulary,
    BLOCK: tl.constexpr,  # noqa: N803
):
    """A token's logits become the gradient of its log p(target) by them: 1 where the target is, less p."""
    token = tl.program_id(0).to(tl.int64)
    row = logits + token * vocabulary
    target = tl.load(targets + token)
    chosen = tl.load(row + target).to(tl.float32)
    at = tl.arange(0, BLOCK)
    most = tl.full((BLOCK,), -1e30, tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, vocabulary, BLOCK):
        z = tl.load(row + start + at, mask=start + at < vocabulary, other=-1e30).to(tl.float32)
        larger = tl.maximum(most, z)
        total = total * tl.exp(most - larger) + tl.exp(z - larger)
        most = larger
    largest = tl.max(most, axis=0)
    # a place that only saw the mask weighs nothing beside the largest
    log_sum = largest + tl.log(tl.sum(total * tl.exp(most - largest), axis=0))
    tl.store(found + token, chosen - log_sum)
    for start in range(0, vocabulary, BLOCK):
        place = start + at
        z = tl.load(row + place, mask=place < vocabulary, other=-1e30).to(tl.float32)
        gradient = tl.where(place == target, 1.0, 0.0) - tl.exp(z - log_sum)
        tl.store(row + place, gradient.to(logits.dtype.element_ty), mask=place < vocabulary)
