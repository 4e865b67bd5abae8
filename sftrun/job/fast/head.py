"""The loss of a batch, from the tokens that are learnt alone and without a question to the GPU.

TRL's own `compute_loss` asks seven things of the GPU a step (which tokens have a label, how many, the entropy, the
accuracy), and the GPU stands still from each answer to the next launch.  All of it can be known before: the collator
says which positions are learnt (`LearntCollator`), and the head reads those.  What is computed is TRL's: the same mean
over the step's tokens, by its kernel or, over a frozen head, by one that makes the logits once (`head_kernels`).
Entropy and accuracy, which only TRL's log shows, are left out.

`install` says where that can't be: logits that are capped or scaled, losses other than `nll`.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer import utils

from sftrun.job.tokens import IGNORED
from sftrun.step import heads

LEARNT, TARGETS, TOKENS = "learnt_positions", "learnt_labels", "row_tokens"


class LearntCollator:
    """A batch with the positions that predict a learnt token, those tokens, and how many tokens its rows have."""

    def __init__(self, inner: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]) -> None:
        self.inner = inner

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch = self.inner(rows)
        labels = torch.nn.functional.pad(batch["labels"][:, 1:], (0, 1), value=IGNORED).flatten()
        learnt = torch.nonzero(labels != IGNORED).flatten()
        tokens = sum(len(row["input_ids"]) for row in rows)
        return batch | {LEARNT: learnt, TARGETS: labels[learnt], TOKENS: tokens}


def install(trainer: Any) -> bool:
    """Teach the trainer's model to be called with `learnt_positions`; False where TRL's own loss has to do."""
    model = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
    config, args = model.config.get_text_config(), trainer.args
    scaled = heads.is_scaled(lambda name: getattr(config, name, None))
    other = args.loss_type != "nll" or trainer.label_smoother is not None or trainer.compute_loss_func is not None
    if scaled or other or trainer.aux_loss_enabled:
        return False
    plain = model.forward

    def forward(self: Any, *args: Any, learnt_positions: Tensor | None = None, **kwargs: Any) -> Any:
        if learnt_positions is None:
            return plain(*args, **kwargs)
        return _log_probs(self, learnt_positions, kwargs.pop(TARGETS), *args, use_cache=False, **kwargs)

    model.forward = types.MethodType(forward, model)
    return True


def loss(model: Any, inputs: dict[str, Any], items: Tensor | int | None, processes: int) -> Tensor:
    """The mean over the step's learnt tokens, `items` of them in all processes; over this batch's where that is None.

    DDP averages gradients over the processes, which `processes` makes up for.
    """
    count = len(inputs[TARGETS]) if items is None else items
    total = -model(**{name: value for name, value in inputs.items() if name != "labels"}).sum()
    return total / torch.as_tensor(count).clamp(min=1) * (1 if items is None else processes)


def _log_probs(model: Any, learnt: Tensor, targets: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Log-probabilities of the learnt tokens, (learnt,)."""
    hidden = model.base_model(*args, **kwargs).last_hidden_state
    head = model.get_output_embeddings()
    picked = hidden.flatten(0, 1).index_select(0, learnt.to(hidden.device))
    targets = targets.to(hidden.device)
    if picked.requires_grad and _is_frozen_on_gpu(head, picked.dtype):
        from sftrun.job.fast.head_kernels import FrozenHeadLogProbs

        found: Tensor = FrozenHeadLogProbs.apply(picked, head.weight, targets)
        return found
    size = utils._CHUNKED_LOGPROB_CHUNK_SIZE
    return utils._ChunkedLogProbFunction.apply(picked, head.weight, head.bias, targets, 1.0, size, None, 1.0, ())[0]


def _is_frozen_on_gpu(head: Any, dtype: torch.dtype) -> bool:
    """What `head_kernels` is for; in fp16 its gradients, which no loss scaler has scaled yet, would vanish."""
    weight = head.weight
    is_plain = weight.is_cuda and head.bias is None and not weight.requires_grad
    return bool(is_plain and weight.dtype == dtype == torch.bfloat16 and heads.is_aligned(len(weight)))
