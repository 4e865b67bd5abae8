"""TRL's loss head in plain torch, for a machine without a GPU.

TRL computes log-probabilities straight from the hidden states by a Triton kernel, and has no other way: on a CPU it
ends in an AttributeError (torch's CPU build brings no Triton) or in the kernel's own refusal.  The same figures need a
dozen lines here; they hold all logits at once, which a small model on a CPU can afford.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from trl.trainer import utils


class PlainLogProbs:
    """Stands where `trl.kernels.ChunkedLogProbFunction` would: the same arguments, the same five results."""

    @staticmethod
    def apply(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None = None,
        logit_scale: float = 1.0,
        outputs: tuple[str, ...] = (),
    ) -> tuple[Tensor | None, ...]:
        """Per token: log-probability, entropy, log of the summed squares, mean logit, is it the likeliest."""
        logits = linear(hidden.to(weight.dtype), weight, bias).float() * logit_scale
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        logits = logits / temperature
        log_p = logits.log_softmax(-1)
        chosen = log_p.gather(-1, targets[:, None]).squeeze(-1)
        with torch.no_grad():
            extra: dict[str, Any] = {
                "entropy": lambda: -(log_p.exp() * log_p).sum(-1),
                "log_sum_sq_probs": lambda: (2 * log_p).logsumexp(-1),
                "mean_logits": lambda: logits.mean(-1),
                "is_top1": lambda: log_p.argmax(-1) == targets,
            }
            return (chosen, *(make() if name in outputs else None for name, make in extra.items()))


def install() -> None:
    """Give TRL's trainers the plain head."""
    utils._ChunkedLogProbFunction = PlainLogProbs
