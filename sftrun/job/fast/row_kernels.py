"""Triton kernels of `row_attention`: causal attention within each row of a packed batch, forward and backward.

Imported on a GPU alone, since Triton is not on every machine.

A program computes one tile of one row for one head.  Tile t of the row that begins at b and is the i-th has the slot
b // TILE + i + t: that is monotonic, leaves at most one slot a row empty, and a program finds its row by counting the
rows that begin at or before its slot.  So nothing but the bounds is needed, no program is started for the difference
to the longest row, and the grid depends on shapes alone (CUDA graphs).

A head of 96 is two pieces, 64 and 32 (`PIECE_A`, `PIECE_B`), as Triton's tiles are powers of two; filling it up to 128
would be a third more work.  The backward pass is two kernels (dq; dk and dv), each of which writes what it sums once:
no gradient goes through memory in fp32.
"""

from typing import NamedTuple

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]

# ruff: noqa: N803  constants of a kernel are upper case, as in Triton


class Tiling(NamedTuple):
    """Rows of a program's own tile, of the tiles that it walks over, and how it is launched."""

    tile: int
    step: int
    warps: int
    stages: int
    registers: int = 0  # at most so many a thread, or as many as the compiler takes


# The fastest of `benchmarks/attention.py --sweep` on an H100.  Not one stage: where a head is two pieces, Triton 3.6
# makes code of it that leaves its shared memory
FORWARD = Tiling(64, 32, 4, 3, registers=128)
BACKWARD_QUERY = BACKWARD_KEY = Tiling(64, 32, 4, 3)
LOG2_E = 1.4426950408889634
# not compiled anew for a batch that has a multiple of 16 of them: they say where rows are, and no row is aligned
COUNTS = ("rows", "tokens")


@triton.jit
def _row(bounds, rows, slot, TILE: tl.constexpr, SCAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where the slot's row begins, its length, and where in it the slot's tile begins."""
    count = 0
    for start in range(0, rows, SCAN):
        at = start + tl.arange(0, SCAN)
        begins = tl.load(bounds + at, mask=at < rows, other=1 << 30)
        count += tl.sum((begins // TILE + at <= slot).to(tl.int32), 0)
    first = tl.load(bounds + count - 1)
    length = tl.load(bounds + count) - first
    return first, length, (slot - first // TILE - (count - 1)) * TILE


@triton.jit
def _load(base, at, length, stride, columns):  # type: ignore[no-untyped-def]
    """A tile of some columns; what lies outside of the row is 0."""
    return tl.load(base + at[:, None] * stride + columns[None, :], mask=(at < length)[:, None], other=0.0)


@triton.jit
def _store(base, at, length, stride, columns, tile):  # type: ignore[no-untyped-def]
    places = base + at[:, None] * stride + columns[None, :]
    tl.store(places, tile.to(base.dtype.element_ty), mask=(at < length)[:, None])


@triton.jit
def _keep(queries, keys, WINDOW: tl.constexpr):  # type: ignore[no-untyped-def]
    kept = keys <= queries
    if WINDOW > 0:
        kept = kept & (keys > queries - WINDOW)
    return kept


@triton.jit(do_not_specialize=COUNTS)
def _forward(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, bounds, rows, tokens, scale,
    q_t, q_h, k_t, k_h, v_t, v_h, o_t, o_h,
    GROUP: tl.constexpr, WINDOW: tl.constexpr, PIECE_A: tl.constexpr, PIECE_B: tl.constexpr,
    TILE: tl.constexpr, STEP: tl.constexpr, SCAN: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    first, length, start = _row(bounds, rows, tl.program_id(1), TILE, SCAN)
    if start >= length:
        return
    origin = first.to(tl.int64)
    q += origin * q_t + head * q_h
    k += origin * k_t + (head // GROUP) * k_h
    v += origin * v_t + (head // GROUP) * v_h
    out += origin * o_t + head * o_h
    queries = start + tl.arange(0, TILE)
    a = tl.arange(0, PIECE_A)
    q_a = _load(q, queries, length, q_t, a)
    sum_a = tl.zeros((TILE, PIECE_A), tl.float32)
    if PIECE_B > 0:
        b = PIECE_A + tl.arange(0, PIECE_B)
        q_b = _load(q, queries, length, q_t, b)
        sum_b = tl.zeros((TILE, PIECE_B), tl.float32)
    highest = tl.full((TILE,), -1e38, tl.float32)
    total = tl.zeros((TILE,), tl.float32)
    low = 0
    if WINDOW > 0:
        low = tl.maximum(start - WINDOW + 1, 0) // STEP * STEP
    for begin in range(low, tl.minimum(start + TILE, length), STEP):
        keys = begin + tl.arange(0, STEP)
        scores = tl.dot(q_a, tl.trans(_load(k, keys, length, k_t, a)))
        if PIECE_B > 0:
            scores = tl.dot(q_b, tl.trans(_load(k, keys, length, k_t, b)), scores)
        # -1e38, not -inf: a tile that a window hides whole makes weights of 1, which the next one's factor of 0 undoes
        scores = tl.where(_keep(queries[:, None], keys[None, :], WINDOW), scores * scale, -1e38)
        higher = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        factor = tl.exp2(highest - higher)
        total = total * factor + tl.sum(weights, 1)
        weights = weights.to(v.dtype.element_ty)
        sum_a = tl.dot(weights, _load(v, keys, length, v_t, a), sum_a * factor[:, None])
        if PIECE_B > 0:
            sum_b = tl.dot(weights, _load(v, keys, length, v_t, b), sum_b * factor[:, None])
        highest = higher
    _store(out, queries, length, o_t, a, sum_a / total[:, None])
    if PIECE_B > 0:
        _store(out, queries, length, o_t, b, sum_b / total[:, None])
    tl.store(lse + head * tokens + origin + queries, highest + tl.log2(total), mask=queries < length)


@triton.jit(do_not_specialize=COUNTS)
def _backward_query(  # type: ignore[no-untyped-def]
    q, k, v, out, grad, lse, delta, q_grad, bounds, rows, tokens, scale, plain_scale,
    q_t, q_h, k_t, k_h, v_t, v_h, o_t, o_h, g_t, g_h, d_t, d_h,
    GROUP: tl.constexpr, WINDOW: tl.constexpr, PIECE_A: tl.constexpr, PIECE_B: tl.constexpr,
    TILE: tl.constexpr, STEP: tl.constexpr, SCAN: tl.constexpr,
):  # fmt: skip
    """dq, and delta = Σ grad · out for the other kernel."""
    head = tl.program_id(0)
    first, length, start = _row(bounds, rows, tl.program_id(1), TILE, SCAN)
    if start >= length:
        return
    origin = first.to(tl.int64)
    q += origin * q_t + head * q_h
    k += origin * k_t + (head // GROUP) * k_h
    v += origin * v_t + (head // GROUP) * v_h
    out += origin * o_t + head * o_h
    grad += origin * g_t + head * g_h
    q_grad += origin * d_t + head * d_h
    queries = start + tl.arange(0, TILE)
    a = tl.arange(0, PIECE_A)
    q_a = _load(q, queries, length, q_t, a)
    grad_a = _load(grad, queries, length, g_t, a)
    out_a = _load(out, queries, length, o_t, a)
    inner = tl.sum(grad_a.to(tl.float32) * out_a.to(tl.float32), 1)
    sum_a = tl.zeros((TILE, PIECE_A), tl.float32)
    if PIECE_B > 0:
        b = PIECE_A + tl.arange(0, PIECE_B)
        q_b = _load(q, queries, length, q_t, b)
        grad_b = _load(grad, queries, length, g_t, b)
        out_b = _load(out, queries, length, o_t, b)
        inner += tl.sum(grad_b.to(tl.float32) * out_b.to(tl.float32), 1)
        sum_b = tl.zeros((TILE, PIECE_B), tl.float32)
    tl.store(delta + head * tokens + origin + queries, inner, mask=queries < length)
    norm = tl.load(lse + head * tokens + origin + queries, mask=queries < length, other=0.0)
    low = 0
    if WINDOW > 0:
        low = tl.maximum(start - WINDOW + 1, 0) // STEP * STEP
    for begin in range(low, tl.minimum(start + TILE, length), STEP):
        keys = begin + tl.arange(0, STEP)
        k_a = _load(k, keys, length, k_t, a)
        scores = tl.dot(q_a, tl.trans(k_a))
        towards = tl.dot(grad_a, tl.trans(_load(v, keys, length, v_t, a)))
        if PIECE_B > 0:
            k_b = _load(k, keys, length, k_t, b)
            scores = tl.dot(q_b, tl.trans(k_b), scores)
            towards = tl.dot(grad_b, tl.trans(_load(v, keys, length, v_t, b)), towards)
        weights = tl.exp2(scores * scale - norm[:, None])
        weights = tl.where(_keep(queries[:, None], keys[None, :], WINDOW), weights, 0.0)
        change = (weights * (towards - inner[:, None])).to(k.dtype.element_ty)
        sum_a = tl.dot(change, k_a, sum_a)
        if PIECE_B > 0:
            sum_b = tl.dot(change, k_b, sum_b)
    _store(q_grad, queries, length, d_t, a, sum_a * plain_scale)
    if PIECE_B > 0:
        _store(q_grad, queries, length, d_t, b, sum_b * plain_scale)


@triton.jit(do_not_specialize=COUNTS)
def _backward_key(  # type: ignore[no-untyped-def]
    q, k, v, grad, lse, delta, k_grad, v_grad, bounds, rows, tokens, scale, plain_scale,
    q_t, q_h, k_t, k_h, v_t, v_h, g_t, g_h, d_t, d_h,
    GROUP: tl.constexpr, WINDOW: tl.constexpr, PIECE_A: tl.constexpr, PIECE_B: tl.constexpr,
    TILE: tl.constexpr, STEP: tl.constexpr, SCAN: tl.constexpr,
):  # fmt: skip
    """dk and dv of one tile of keys, summed over the query heads that share them."""
    key_head = tl.program_id(0)
    first, length, start = _row(bounds, rows, tl.program_id(1), TILE, SCAN)
    if start >= length:
        return
    origin = first.to(tl.int64)
    q += origin * q_t + key_head * GROUP * q_h
    k += origin * k_t + key_head * k_h
    v += origin * v_t + key_head * v_h
    grad += origin * g_t + key_head * GROUP * g_h
    lse += origin + key_head * GROUP * tokens
    delta += origin + key_head * GROUP * tokens
    keys = start + tl.arange(0, TILE)
    a = tl.arange(0, PIECE_A)
    k_a = _load(k, keys, length, k_t, a)
    v_a = _load(v, keys, length, v_t, a)
    k_sum_a = tl.zeros((TILE, PIECE_A), tl.float32)
    v_sum_a = tl.zeros((TILE, PIECE_A), tl.float32)
    if PIECE_B > 0:
        b = PIECE_A + tl.arange(0, PIECE_B)
        k_b = _load(k, keys, length, k_t, b)
        v_b = _load(v, keys, length, v_t, b)
        k_sum_b = tl.zeros((TILE, PIECE_B), tl.float32)
        v_sum_b = tl.zeros((TILE, PIECE_B), tl.float32)
    low = start // STEP * STEP
    high = length
    if WINDOW > 0:
        high = tl.minimum(length, start + TILE + WINDOW - 1)
    steps = tl.cdiv(high - low, STEP)
    for index in range(0, GROUP * steps):
        member = index // steps
        queries = low + (index - member * steps) * STEP + tl.arange(0, STEP)
        q_here, grad_here = q + member * q_h, grad + member * g_h
        q_a = _load(q_here, queries, length, q_t, a)
        grad_a = _load(grad_here, queries, length, g_t, a)
        norm = tl.load(lse + member * tokens + queries, mask=queries < length, other=0.0)
        inner = tl.load(delta + member * tokens + queries, mask=queries < length, other=0.0)
        scores = tl.dot(k_a, tl.trans(q_a))
        towards = tl.dot(v_a, tl.trans(grad_a))
        if PIECE_B > 0:
            q_b = _load(q_here, queries, length, q_t, b)
            grad_b = _load(grad_here, queries, length, g_t, b)
            scores = tl.dot(k_b, tl.trans(q_b), scores)
            towards = tl.dot(v_b, tl.trans(grad_b), towards)
        weights = tl.exp2(scores * scale - norm[None, :])
        weights = tl.where(_keep(queries[None, :], keys[:, None], WINDOW), weights, 0.0)
        change = (weights * (towards - inner[None, :])).to(q.dtype.element_ty)
        weights = weights.to(grad.dtype.element_ty)
        v_sum_a = tl.dot(weights, grad_a, v_sum_a)
        k_sum_a = tl.dot(change, q_a, k_sum_a)
        if PIECE_B > 0:
            v_sum_b = tl.dot(weights, grad_b, v_sum_b)
            k_sum_b = tl.dot(change, q_b, k_sum_b)
    k_grad += origin * d_t + key_head * d_h
    v_grad += origin * d_t + key_head * d_h
    _store(k_grad, keys, length, d_t, a, k_sum_a * plain_scale)
    _store(v_grad, keys, length, d_t, a, v_sum_a)
    if PIECE_B > 0:
        _store(k_grad, keys, length, d_t, b, k_sum_b * plain_scale)
        _store(v_grad, keys, length, d_t, b, v_sum_b)


def forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bounds: torch.Tensor, scale: float, window: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, (tokens, heads, head), and log2 of each query's sum of weights, (heads, tokens)."""
    tokens, heads, _ = q.shape
    out, lse = q.new_empty(q.shape), q.new_empty((heads, tokens), dtype=torch.float32)
    rows = len(bounds) - 1
    _forward[_grid(heads, tokens, rows, FORWARD)](
        q, k, v, out, lse, bounds, rows, tokens, scale * LOG2_E, *_strides(q, k, v, out),
        **_constants(q, k, window, FORWARD),
    )  # fmt: skip
    return out, lse


def backward(
    grad: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, lse: torch.Tensor,
    bounds: torch.Tensor, scale: float, window: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """dq, dk and dv, each laid out as (tokens, heads, head)."""
    (tokens, heads, _), key_heads, rows = q.shape, k.shape[1], len(bounds) - 1
    q_grad, k_grad, v_grad = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
    delta = torch.empty_like(lse)
    _backward_query[_grid(heads, tokens, rows, BACKWARD_QUERY)](
        q, k, v, out, grad, lse, delta, q_grad, bounds, rows, tokens, scale * LOG2_E, scale,
        *_strides(q, k, v, out, grad, q_grad), **_constants(q, k, window, BACKWARD_QUERY),
    )  # fmt: skip
    _backward_key[_grid(key_heads, tokens, rows, BACKWARD_KEY)](
        q, k, v, grad, lse, delta, k_grad, v_grad, bounds, rows, tokens, scale * LOG2_E, scale,
        *_strides(q, k, v, grad, k_grad), **_constants(q, k, window, BACKWARD_KEY),
    )  # fmt: skip
    return q_grad, k_grad, v_grad


def _grid(heads: int, tokens: int, rows: int, tiling: Tiling) -> tuple[int, int]:
    return heads, tokens // tiling.tile + rows


def _strides(*tensors: torch.Tensor) -> list[int]:
    return [stride for tensor in tensors for stride in tensor.stride()[:2]]


def _constants(q: torch.Tensor, k: torch.Tensor, window: int, tiling: Tiling) -> dict[str, int]:
    a, b = _pieces(q.shape[2])
    return {
        "GROUP": q.shape[1] // k.shape[1],
        "WINDOW": window,
        "PIECE_A": a,
        "PIECE_B": b,
        "TILE": tiling.tile,
        "STEP": tiling.step,
        "SCAN": 256,
        "num_warps": tiling.warps,
        "num_stages": tiling.stages,
        **({"maxnreg": tiling.registers} if tiling.registers else {}),
    }


def _pieces(head: int) -> tuple[int, int]:
    """One power of two, or two, that make up a head of `step.cuda_graphs.ROW_HEADS`."""
    a = 1 << (head.bit_length() - 1)
    return a, head - a
