"""Rows -> token ids and labels: what is learnt is decided, and counted, here.

The same as TRL would do row by row (`SFTTrainer._prepare_dataset`), with three differences: rows go to the tokenizer in
batches (a data set of 190,000 rows in seconds, while a GPU waits and costs); rows with nothing to learn are said, not
silently dropped; and without generation marks in a chat template the assistant's turns are found in the rendered text.

A label is the token's id, or -100 where nothing is learnt.  A row's first label never counts: nothing predicts it.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import JobSpec
from sftrun.job import chat
from sftrun.job.data import Row
from sftrun.rows.forms import split_instruction

IGNORED = -100
Tokenized = tuple[list[int], list[int]]
Ids: TypeAlias = "array[int]"  # 4 bytes a token; a list takes 8 and an object each


@dataclass
class Learnable:
    """Rows ready for the trainer; `dropped` are the indices of those in which nothing is learnt."""

    input_ids: list[Ids] = field(default_factory=list)
    labels: list[Ids] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    cut: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.input_ids))

    @property
    def learnt_tokens(self) -> int:
        return sum(map(count_learnt, self.labels))


def count_learnt(labels: Sequence[int]) -> int:
    """Tokens that give a loss."""
    return len(labels[1:]) - labels[1:].count(IGNORED)


def label(rows: Sequence[Row], form: DataFormat, spec: JobSpec, tokenizer: Any) -> Learnable:
    """Tokenise, label and cut; a row in which nothing is learnt is left out."""
    result, longest = Learnable(), spec.trainer.max_length
    for index, (ids, labels) in enumerate(_maker(form, spec, tokenizer)(rows)):
        result.cut += len(ids) > longest
        if count_learnt(labels[:longest]):
            result.input_ids.append(array("i", ids[:longest]))
            result.labels.append(array("i", labels[:longest]))
        else:
            result.dropped.append(index)
    return result


Maker = Callable[[Sequence[Row]], Iterator[Tokenized]]


def _maker(form: DataFormat, spec: JobSpec, tokenizer: Any) -> Maker:
    completion_only = spec.trainer.completion_only_loss is not False
    if form == "text":
        column = str(spec.trainer.extra.get("dataset_text_field", "text"))
        return lambda rows: _texts(tokenizer, [str(row.get(column, row["text"])) for row in rows])
    if form == "messages":
        only = spec.trainer.assistant_only_loss is not False
        return lambda rows: chat.conversations(
            tokenizer, [row["messages"] for row in rows], [row.get("tools") for row in rows], only
        )
    if form == "instruction":
        template = spec.dataset.instruction_template
        return lambda rows: _pairs(tokenizer, [split_instruction(row, template) for row in rows], completion_only)
    return lambda rows: _prompts_and_completions(tokenizer, rows, completion_only)


def _texts(tokenizer: Any, texts: Sequence[str]) -> Iterator[Tokenized]:
    for ids in encode(tokenizer, [ended(text, tokenizer) for text in texts]):
        yield ids, list(ids)


def _prompts_and_completions(tokenizer: Any, rows: Sequence[Row], only: bool) -> Iterator[Tokenized]:
    if isinstance(rows[0]["prompt"], str):
        pairs = [(str(row["prompt"]), str(row["completion"])) for row in rows]
        yield from _pairs(tokenizer, pairs, only)
        return
    for row in rows:
        yield chat.prompt_and_completion(tokenizer, row["prompt"], row["completion"], row.get("tools"), only)


def _pairs(tokenizer: Any, pairs: Sequence[tuple[str, str]], only: bool) -> Iterator[Tokenized]:
    whole = encode(tokenizer, [ended(prompt + completion, tokenizer) for prompt, completion in pairs])
    prompts = encode(tokenizer, [prompt for prompt, _ in pairs]) if only else [[]] * len(pairs)
    for ids, prompt in zip(whole, prompts, strict=True):
        yield ids, mask_prompt(ids, prompt)


def encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, with the special tokens that begin or end one; offsets and masks are never made."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer(texts, return_attention_mask=False)["input_ids"]
    backend.no_truncation()
    backend.no_padding()
    return [found.ids for found in backend.encode_batch_fast(texts)]


def ended(text: str, tokenizer: Any) -> str:
    """The text with the end-of-sequence token, once."""
    return text if text.endswith(tokenizer.eos_token) else text + tokenizer.eos_token


def mask_prompt(ids: Sequence[int], prompt: Sequence[int]) -> list[int]:
    """Labels from where prompt and whole part: where tokens merge across the border, the merged one is learnt."""
    if ids[: len(prompt)] == prompt:
        return [IGNORED] * len(prompt) + list(ids[len(prompt) :])
    border = next((i for i, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), min(len(ids), len(prompt)))
    return [IGNORED] * border + list(ids[border:])
