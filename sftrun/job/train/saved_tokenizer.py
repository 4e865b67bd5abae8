"""transformers' tokenizer of a run: it fills batches up, answers, and is saved.  It encodes as the rows were encoded.

transformers rebuilds some tokenizers from their class, and drops what `tokenizer.json` says of normalising and cutting.
Where its own answer on the run's texts is another one, `tokenizer.json` is taken as it is, and saved so.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sftrun.contract.jobspec import ModelSpec
from sftrun.job.failures import JobFailure
from sftrun.job.train import added_tokens, loading
from sftrun.rows.tokenizer import DEFAULT, Tokens


class Text(NamedTuple):
    """A text of a row, and the row's place."""

    place: str
    text: str


def load(model: ModelSpec, tokens: Tokens, texts: Sequence[Text] = ()) -> Any:
    """The tokenizer; `texts` are some of the run's own.  Raises JobFailure with the first row that differs."""
    differs: Text | None = None
    for made in _candidates(model, tokens):
        added_tokens.teach(made, tokens.spec.added)
        differs = next((text for text in texts if encoded(made, text.text) != tokens.encode(text.text).ids), None)
        if differs is None:
            return _with_ends(made, tokens)
    assert differs is not None
    message = f"{differs.place}: tokenizer.json and the class that transformers loads encode it differently"
    raise JobFailure("model", message, "save the tokenizer again with transformers, and compare")


def encoded(tokenizer: Any, text: str) -> list[int]:
    """Ids of a whole text."""
    return list(tokenizer(text, return_attention_mask=False)["input_ids"])


def _candidates(model: ModelSpec, tokens: Tokens) -> Iterator[Any]:
    """transformers' own choice first, then tokenizer.json as it is."""
    from transformers import PreTrainedTokenizerFast

    try:
        yield loading.auto_tokenizer(model)
    except JobFailure:  # a class that is not there, or remote code that nobody trusts
        if not tokens.folder.is_dir():
            raise
    yield loading.said(
        f"the tokenizer of {model.name_or_path}", lambda: PreTrainedTokenizerFast.from_pretrained(tokens.folder)
    )


def _with_ends(made: Any, tokens: Tokens) -> Any:
    """With the end, the padding and the template that rows have."""
    made.eos_token = tokens.eos
    if tokens.spec.pad is not None:
        made.pad_token = tokens.spec.pad
    elif made.pad_token is None:
        made.pad_token = made.eos_token
    templates = dict(tokens.spec.templates)
    made.chat_template = templates if set(templates) - {DEFAULT} else templates.get(DEFAULT)
    return made
