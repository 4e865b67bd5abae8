"""On a GPU: our attention within rows is fp32's, forward and backward, for heads and windows of many kinds."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

ROWS = (5, 130, 1, 64, 300, 70, 1025)


def exact(q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], window: int) -> Tensor:
    """In fp64, row by row."""
    outs = []
    for states in zip(*(x.double().split(lengths) for x in (q, k, v)), strict=True):
        query, key, value = (x.transpose(0, 1) for x in states)
        group = len(query) // len(key)
        scores = query @ key.repeat_interleave(group, 0).mT * query.shape[-1] ** -0.5
        at = torch.arange(query.shape[1], device=q.device)
        hidden = at[None, :] > at[:, None]
        if window:
            hidden |= at[None, :] <= at[:, None] - window
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        outs.append((weights @ value.repeat_interleave(group, 0)).transpose(0, 1))
    return torch.cat(outs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [0, 40])
@pytest.mark.parametrize(
    ("heads", "key_heads", "head"),
    [(4, 4, 96), (14, 2, 64), (8, 2, 128), (4, 1, 80), (2, 2, 48), (2, 2, 32), (2, 2, 16)],
)
def test_outputs_and_gradients_are_those_of_each_row_alone(
    heads: int, key_heads: int, head: int, window: int, dtype: torch.dtype
) -> None:
    from sftrun.job.fast.row_attention import row_attention

    total = sum(ROWS)
    torch.manual_seed(0)
    widths = [heads * head, key_heads * head, key_heads * head]
    fused = torch.randn(total, sum(widths), device="cuda", dtype=dtype).requires_grad_()
    q, k, v = (x.view(total, -1, head) for x in fused.split(widths, dim=1))
    bounds = torch.tensor([0, *itertools.accumulate(ROWS), total, total], dtype=torch.int32, device="cuda")
    out, _ = row_attention(q, k, v, bounds, head**-0.5, window)
    weights = torch.randn_like(out)
    wanted = exact(q, k, v, ROWS, window)
    assert_near(out.detach(), wanted.detach())
    found: Any = torch.autograd.grad(out, fused, weights)
    assert_near(found[0], torch.autograd.grad(wanted, fused, weights.double())[0])


def assert_near(found: Tensor, wanted: Tensor) -> None:
    assert float((found.double() - wanted).norm() / wanted.norm()) < 0.008
    assert float((found.double() - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_batches_of_any_number_of_tokens_and_rows_share_their_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    triton: Any = pytest.importorskip("triton")
    from sftrun.job.fast.row_attention import row_attention

    compiled: list[str] = []
    monkeypatch.setattr(triton.knobs.runtime, "jit_cache_hook", lambda **known: compiled.append(known["repr"]))
    for lengths in ((1, 5), (300,) * 5 + (101,), (100,) * 16, (7,) * 17):
        fused = torch.randn(sum(lengths), 3 * 64, device="cuda", dtype=torch.bfloat16).requires_grad_()
        q, k, v = (x.view(-1, 1, 64) for x in fused.split(64, dim=1))
        bounds = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device="cuda")
        row_attention(q, k, v, bounds, 64**-0.5, 33)[0].sum().backward()
    assert len(compiled) == len({name.split("[")[0] for name in compiled}) == 3, compiled
