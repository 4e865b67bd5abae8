"""Prompts answered by the base model and by the tuned one, so that they can stand side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol

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


class Said(NamedTuple):
    """One answer, of so many tokens; `is_ended`: by itself, with one of the ends."""

    text: str
    tokens: int
    is_ended: bool


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    ends: Sequence[int],
    *,
    between: Callable[[], None] = lambda: None,
    **options: Any,
) -> Iterator[str]:
    """The answers, in order, each up to one of the tokens `ends`; `options` are those of a batch."""
    for begin in range(0, len(prompts), BATCH):
        between()
        said = generate_batch(model, tokenizer, prompts[begin : begin + BATCH], ends, **options)
        yield from (one.text for one in said)


def generate_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    ends: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    has_special_tokens: bool = False,
    is_sharded: bool = False,
    seed: int | None = None,
    each_token: Callable[[], None] | None = None,
) -> list[Said]:
    """One batch.  Leaves mode and random states as they were.

    `is_sharded`: each process has a part of the weights, and all go on until the last one's answers are complete.
    `seed` is what answers with a temperature are drawn by; `each_token` is called after each token of all rows.
    """
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature}
    if each_token is not None:
        sampling["stopping_criteria"] = [_Between(each_token)]
    with resting(model):
        if seed is not None and temperature:
            torch.manual_seed(seed)
        batch = _encode(tokenizer, prompts, has_special_tokens).to(model.device)
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
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [_said(text, row, ends) for text, row in zip(texts, answers.tolist(), strict=True)]


def ids_of(tokenizer: Any, text: str, has_special_tokens: bool) -> list[int]:
    """The prompt as it is encoded for its batch."""
    return list(tokenizer(text, add_special_tokens=not has_special_tokens)["input_ids"])


def _said(text: str, row: Sequence[int], ends: Sequence[int]) -> Said:
    found = next((place for place, token in enumerate(row) if token in ends), None)
    return Said(text.strip(), len(row) if found is None else found + 1, found is not None)


class _Between:
    """Called after each token; it never ends an answer."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:
        self._call()
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)


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
def resting(model: Any) -> Iterator[None]:
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
