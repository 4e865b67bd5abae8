"""Prompts answered by the base model and by the tuned one, so that they can stand side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import torch

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.rows.labels import question
from sftrun.rows.template import Unrenderable
from sftrun.rows.tokenizer import Tokens

BATCH = 8


class Rows(Protocol):
    """What is known of the rows that were trained on."""

    @property
    def format(self) -> DataFormat: ...

    @property
    def are_conversations(self) -> bool: ...

    @property
    def ends(self) -> tuple[str, ...]: ...

    @property
    def system(self) -> str | None: ...


def wrap(
    prompt: str,
    rules: RowRules,
    rows: Rows,
    tokens: Tokens,
    *,
    system: str | None = None,
    before: Sequence[tuple[str, str]] = (),
) -> str:
    """The prompt as the training rows had theirs; `system` of None is the turn that they had.  Raises JobFailure."""
    said = rows.system if system is None else system
    told: dict[str, Any] = {"is_conversation": rows.are_conversations, "system": said, "before": before}
    try:
        return question(prompt, rules, rows.format, tokens, **told)
    except Unrenderable as error:
        raise JobFailure(
            "data", f"the chat template refuses a question: {error}", "set `dataset.chat_template`"
        ) from None


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    ends: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    has_special_tokens: bool = False,
    is_sharded: bool = False,
    between: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """The answers, in order, each up to one of the tokens `ends`.  Leaves mode and random states as they were.

    `is_sharded`: each process has a part of the weights, and all go on until the last one's answers are complete.
    """
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature}
    for begin in range(0, len(prompts), BATCH):
        between()
        with _resting(model):
            batch = _encode(tokenizer, prompts[begin : begin + BATCH], has_special_tokens).to(model.device)
            output = model.generate(
                **batch,
                **sampling,
                max_new_tokens=max_new_tokens,
                eos_token_id=list(ends),
                pad_token_id=tokenizer.pad_token_id,
                use_cache=True,
                synced_gpus=is_sharded,
            )
        answers = output[:, batch["input_ids"].shape[1] :]
        yield from (text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True))


def without_adapter(model: Any) -> Any:
    """A context in which the model is the base."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()


def _encode(tokenizer: Any, prompts: Sequence[str], has_special_tokens: bool) -> Any:
    """Padded on the left: an answer begins right after its prompt."""
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        return tokenizer(list(prompts), return_tensors="pt", padding=True, add_special_tokens=not has_special_tokens)
    finally:
        tokenizer.padding_side = side


@contextmanager
def _resting(model: Any) -> Iterator[None]:
    """Evaluation mode, no gradients, randomness of its own; checkpointing off, as it refuses the cache.

    The trainer turns checkpointing on again when it begins.
    """
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    if getattr(model, "is_gradient_checkpointing", False):
        model.gradient_checkpointing_disable()
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        model.train(training)
