"""The loss of a batch, from the tokens that are learnt alone and without a question to the GPU.

TRL's own `compute_loss` asks seven things of the GPU a step (which tokens have a label, how many, the entropy, the
accuracy), and the GPU stands still from each answer to the next launch.  All of it can be known before: the collator
says which positions are learnt (`LearntCollator`), and the head reads those.  What is computed is TRL's: the same mean
over the step's tokens, by its kernel or, over a frozen head, by one that makes the logits once (`head_kernels`).
Entropy and accuracy, which only TRL's log shows, are left out.

Which of the three it is stands in `JobSpec.step.head`; `install` says where the model does not allow that.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer import utils

from sftrun.contract.stepplan import Head
from sftrun.rows.labels import IGNORED
from sftrun.step import heads
from sftrun.step.configurations import is_scaled

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


def install(
    trainer: Any, wanted: Head = "frozen", refuse: Callable[[Head, str], None] = lambda done, reason: None
) -> Head:
    """Teach the trainer's model to be called with `learnt_positions`, and say which head it has then.

    `refuse` hears what is done instead of what was `wanted`, and why.
    """
    model = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
    done = _allowed(trainer, model, wanted, refuse)
    if done != "trl":
        _teach(model, done == "frozen", refuse)
    return done


def _allowed(trainer: Any, model: Any, wanted: Head, refuse: Callable[[Head, str], None]) -> Head:
    done: Head = wanted
    if wanted != "trl" and (reason := _not_plain(trainer, model.config.get_text_config())):
        done = "trl"
        refuse(done, reason)
    elif wanted == "frozen" and (reason := _not_frozen(model.get_output_embeddings())):
        done = "learnt"
        refuse(done, reason)
    return done


def _not_plain(trainer: Any, config: Any) -> str | None:
    """Why the loss has to be TRL's own."""
    args = trainer.args
    reasons = {
        "something stands between logits and loss": is_scaled(lambda name: getattr(config, name, None)),
        f"the loss is {args.loss_type}": args.loss_type != "nll",
        "labels are smoothed": trainer.label_smoother is not None,
        "the loss has a function of its own": trainer.compute_loss_func is not None,
        "a router's loss is added": bool(trainer.aux_loss_enabled),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _not_frozen(head: Any) -> str | None:
    """Why `head_kernels` are not for it."""
    weight = head.weight
    reasons = {
        "the head has a bias": head.bias is not None,
        "the head is trained": weight.requires_grad,
        f"the head's weights are {str(weight.dtype).removeprefix('torch.')}": weight.dtype != torch.bfloat16,
        f"{weight.shape[0]} words are no multiple of {heads.ALIGNED}": not heads.is_aligned(weight.shape[0]),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _teach(model: Any, is_frozen: bool, refuse: Callable[[Head, str], None]) -> None:
    plain = model.forward

    def forward(self: Any, *args: Any, learnt_positions: Tensor | None = None, **kwargs: Any) -> Any:
        if learnt_positions is None:
            return plain(*args, **kwargs)
        targets = kwargs.pop(TARGETS)
        picked = _picked(self, learnt_positions, *args, use_cache=False, **kwargs)
        head, targets = self.get_output_embeddings(), targets.to(picked.device)
        if is_frozen and picked.requires_grad and _runs_kernels(head.weight, picked, refuse):
            from sftrun.job.fast.head_kernels import FrozenHeadLogProbs

            return FrozenHeadLogProbs.apply(picked, head.weight, targets)
        size = utils._CHUNKED_LOGPROB_CHUNK_SIZE
        return utils._ChunkedLogProbFunction.apply(picked, head.weight, head.bias, targets, 1.0, size, None, 1.0, ())[0]

    model.forward = types.MethodType(forward, model)


def loss(model: Any, inputs: dict[str, Any], items: Tensor | int | None, processes: int) -> Tensor:
    """The mean over the step's learnt tokens, `items` of them in all processes; over this batch's where that is None.

    DDP averages gradients over the processes, which `processes` makes up for.
    """
    count = len(inputs[TARGETS]) if items is None else items
    total = -model(**{name: value for name, value in inputs.items() if name != "labels"}).sum()
    return total / torch.as_tensor(count).clamp(min=1) * (1 if items is None else processes)


def _picked(model: Any, learnt: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Hidden states that predict a learnt token, (learnt, hidden)."""
    hidden = model.base_model(*args, **kwargs).last_hidden_state
    found: Tensor = hidden.flatten(0, 1).index_select(0, learnt.to(hidden.device))
    return found


def _runs_kernels(weight: Tensor, picked: Tensor, refuse: Callable[[Head, str], None]) -> bool:
    """What is known at the first step alone."""
    runs = weight.is_cuda and picked.dtype == weight.dtype
    if not runs:
        refuse("learnt", f"hidden states are {picked.dtype} on {picked.device}, the head {weight.dtype}")
    return runs
