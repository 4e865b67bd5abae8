"""Proof that rows of one sequence do not see each other in a model: before the first step, by three small passes.

Attention is told where rows begin, but a model may mix tokens otherwise: by a convolution, or by a state that runs on.
So a row's first and last word are predicted alone, behind another row, and as that row's continuation, which is what
must not be.  How far the second is on the way from the first to the third says whether the rows are apart.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sftrun.job.failures import JobFailure
from sftrun.job.fast import attention

TOKENS = 32  # of a row
LEAKS = 0.1  # share of the way; rounding to 16 bits makes a few hundredths of it at most


def require(trainer: Any, has_kernel: bool) -> None:
    """Raise JobFailure where padding-free or packed rows are not learnt from as they stand."""
    if leak(trainer, _rows(trainer.train_dataset), has_kernel) > LEAKS:
        raise JobFailure(
            "model",
            "rows that share a sequence see each other in this model, whatever attention is told",
            "write `model.attn_implementation: sdpa`, and `trainer.packing: false`",
        )


def leak(trainer: Any, rows: Sequence[Sequence[int]], has_kernel: bool) -> float:
    """From 0, alone, to 1, as a continuation: how the second row's words are predicted behind the first."""
    model, was_training = trainer.model, trainer.model.training
    first, second = (torch.tensor(row, device=trainer.args.device) for row in rows)
    begin = len(first)
    model.eval()
    try:
        with torch.no_grad(), trainer.accelerator.autocast():
            alone = _predicted(model, [second], has_kernel)
            behind = _predicted(model, [first, second], has_kernel)[begin:]
            continued = _predicted(model, [torch.cat((first, second))], has_kernel)[begin:]
    finally:
        model.train(was_training)
    return max(_share(alone[at], behind[at], continued[at]) for at in (0, -1))


def _rows(dataset: Any) -> list[list[int]]:
    """The beginnings of two rows; the same one twice, where there is but one."""
    found: list[list[int]] = []
    for index in range(min(len(dataset), 2)):
        entry, begin = dataset[index], 0
        for length in entry.get("seq_lengths", [len(entry["input_ids"])]):
            found.append(list(entry["input_ids"][begin : begin + min(length, TOKENS)]))
            begin += length
    return [found[0], found[1 % len(found)]]


def _predicted(model: Any, rows: Sequence[Tensor], has_kernel: bool) -> Tensor:
    """Logits (tokens, words) of padding-free rows."""
    positions = torch.cat([torch.arange(len(row), device=row.device) for row in rows])[None]
    inputs: dict[str, Any] = {"input_ids": torch.cat(list(rows))[None], "position_ids": positions}
    if has_kernel:
        bounds, longest = attention.batch_bounds(positions)
        inputs |= {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
    logits: Tensor = model(**inputs, use_cache=False).logits[0].float()
    return logits


def _share(alone: Tensor, behind: Tensor, continued: Tensor) -> float:
    whole = (continued - alone).norm()
    return float((behind - alone).norm() / whole) if whole > 0 else 0.0
