"""Causal attention within padding-free rows, with gradients, as one operation that the compiler leaves whole.

torch's own (`torch.nn.attention.varlen`, FlashAttention 2) is made for long rows: it starts a block for each row times
each 128 tokens of the longest, and sums dq in fp32 through memory.  Rows of fine-tuning data are short (177 tokens in
the census data), where that is most of its time.  `row_kernels` has the figures' other half: tiles of the rows alone.
"""

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("sftrun::row_attention", mutates_args=())
def row_attention(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, scale: float, window: int) -> tuple[Tensor, Tensor]:
    """Attention of (tokens, heads, head) over (tokens, key heads, head); rows begin at `bounds`, int32 (rows + 1,).

    `window` is how many keys a query sees, itself among them, or 0 for all before it.  Out: (tokens, heads, head), and
    log2 of each query's sum of weights for the backward pass, (heads, tokens).
    """
    from sftrun.job.fast import row_kernels

    q, k, v = (_rows_whole(states) for states in (q, k, v))
    return row_kernels.forward(q, k, v, bounds, scale, window)


@row_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, scale: float, window: int) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty((q.shape[1], q.shape[0]), dtype=torch.float32)


@torch.library.custom_op("sftrun::row_attention_backward", mutates_args=())
def _gradients(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, bounds: Tensor, scale: float, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    from sftrun.job.fast import row_kernels

    grad, q, k, v, out = (_rows_whole(states) for states in (grad, q, k, v, out))
    return row_kernels.backward(grad, q, k, v, out, lse, bounds, scale, window)


@_gradients.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, bounds: Tensor, scale: float, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, bounds, ctx.scale, ctx.window = inputs
    ctx.save_for_backward(q, k, v, *output, bounds)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, bounds = ctx.saved_tensors
    return *_gradients(grad, q, k, v, out, lse, bounds, ctx.scale, ctx.window), None, None, None


row_attention.register_autograd(_backward, setup_context=_keep_for_backward)


def _rows_whole(states: Tensor) -> Tensor:
    return states if states.stride(-1) == 1 else states.contiguous()
