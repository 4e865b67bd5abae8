"""Conversations -> token ids and labels, with the assistant's turns found in one of three ways.

The template's own `{% generation %}` marks; TRL's marked twin of a template it knows; or the rendered text: what the
template adds when one more turn is rendered is that turn.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sftrun.job.failures import JobFailure

IGNORED = -100
Messages = list[dict[str, Any]]
Tokenized = tuple[list[int], list[int]]


def conversations(
    tokenizer: Any, rows: Sequence[Messages], tools: Sequence[Any], only_assistant: bool
) -> Iterator[Tokenized]:
    """Each conversation whole; with `only_assistant`, labels on the assistant's turns and their ends alone."""
    require_template(tokenizer)
    template = _marked_template(tokenizer) if only_assistant else None
    for messages, tool in zip(rows, tools, strict=True):
        if template is not None:
            yield _by_marks(tokenizer, messages, tool, template)
        elif only_assistant:
            yield _by_rendering(tokenizer, messages, tool)
        else:
            ids = _encode(tokenizer, _render(tokenizer, messages, tool))["input_ids"]
            yield ids, list(ids)


def prompt_and_completion(tokenizer: Any, prompt: Messages, completion: Messages, tools: Any, only: bool) -> Tokenized:
    """A prompt and a completion that are turns of one conversation."""
    require_template(tokenizer)
    text = _render(tokenizer, prompt + completion, tools)
    begin = len(_common(_render(tokenizer, prompt, tools, ask=True), text)) if only else 0
    return _label_spans(tokenizer, text, [(begin, len(text))])


def ask(tokenizer: Any, prompt: str) -> str:
    """A single question as the template has it, with the answer's head."""
    require_template(tokenizer)
    return _render(tokenizer, [{"role": "user", "content": prompt}], None, ask=True)


def require_template(tokenizer: Any) -> None:
    if not tokenizer.chat_template:
        raise JobFailure(
            "data",
            "the rows are conversations and the model's tokenizer has no chat template",
            "use a model that has one (often named Instruct), or set `trainer.extra.chat_template_path`",
        )


def _marked_template(tokenizer: Any) -> str | None:
    """A template with generation marks, if the tokenizer has one or TRL knows its twin."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    own = tokenizer.chat_template
    if has_generation_markers(own):
        return own["default"] if isinstance(own, dict) else own
    try:
        return get_training_chat_template(tokenizer)
    except ValueError:
        return None


def _by_marks(tokenizer: Any, messages: Messages, tools: Any, template: str) -> Tokenized:
    found = tokenizer.apply_chat_template(
        messages,
        tools=tools,
        chat_template=template,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, marks = found["input_ids"], found["assistant_masks"]
    return ids, [token if mark else IGNORED for token, mark in zip(ids, marks, strict=True)]


def _by_rendering(tokenizer: Any, messages: Messages, tools: Any) -> Tokenized:
    """Labels on what each assistant turn adds to the text; on the last alone where a template rewrites earlier ones."""
    text = _render(tokenizer, messages, tools)
    spans = [
        _span(tokenizer, messages, tools, at, text) for at, turn in enumerate(messages) if turn["role"] == "assistant"
    ]
    return _label_spans(tokenizer, text, [span for span in spans if span is not None])


def _span(tokenizer: Any, messages: Messages, tools: Any, at: int, text: str) -> tuple[int, int] | None:
    before, after = messages[:at], messages[: at + 1]
    head = len(_common(_render(tokenizer, before, tools, ask=True), text)) if before else 0
    if at == len(messages) - 1:
        return head, len(text)
    rendered = _render(tokenizer, after, tools)
    return (head, len(rendered)) if text.startswith(rendered) else None


def _label_spans(tokenizer: Any, text: str, spans: Sequence[tuple[int, int]]) -> Tokenized:
    """Labels on the tokens that end inside one of the character spans."""
    found = _encode(tokenizer, text, return_offsets_mapping=True)
    ids, offsets = found["input_ids"], found["offset_mapping"]
    inside = [any(begin < end <= limit for begin, limit in spans) for _, end in offsets]
    return ids, [token if learnt else IGNORED for token, learnt in zip(ids, inside, strict=True)]


def _encode(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer(text, add_special_tokens=False, **options)  # the template has written them


def _render(tokenizer: Any, messages: Messages, tools: Any, *, ask: bool = False) -> str:
    return tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=ask)


def _common(head: str, text: str) -> str:
    if text.startswith(head):
        return head
    return head[: next(i for i, (a, b) in enumerate(zip(head, text, strict=False)) if a != b)]
