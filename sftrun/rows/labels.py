"""One row -> its tokens and labels, and what is wrong with it: the same labels that the job makes.

A label is the token's id, or -100 where nothing is learnt.  A row's first label never counts: nothing predicts it.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sftrun.contract.choices import DataFormat
from sftrun.rows.chat import Chat, Span
from sftrun.rows.forms import COLUMNS, split_instruction
from sftrun.rows.read import Row, shown
from sftrun.rows.tokenizer import Measured, Pair, Tokens
from sftrun.rows.wish import Labelling

IGNORED = -100


class Labelled(NamedTuple):
    """A row as the model will see it, before it is cut."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


class Labeller:
    """Turns rows into labels with one tokenizer."""

    def __init__(self, how: Labelling, tokens: Tokens) -> None:
        self.how = how
        self.tokens = tokens
        self.chat = Chat(tokens.template, tokens.variables) if tokens.template else None

    def label(self, row: Row) -> Labelled:
        """Ids and labels of one row.  Raises `Unrenderable` where a template refuses it."""
        if is_conversation(row, self.how.format):
            return self._conversation(row)
        prompt, completion = _texts(row, self.how)
        ids = self.tokens.encode(self.tokens.ended(prompt + completion)).ids
        measured = self.tokens.measure([(prompt, completion)], only=self._only)[0]
        return Labelled(tuple(ids), (IGNORED,) * measured.border + tuple(ids[measured.border :]))

    def measure(self, rows: Sequence[Row], pairs: Sequence[Pair | None]) -> list[Measured | Labelled | Exception]:
        """The same for many rows, in short where a border says all; `pairs` are their texts, None for conversations."""
        plain = [pair for pair in pairs if pair is not None]
        measured = iter(self.tokens.measure(plain, only=self._only))
        return [self._tried(row) if pair is None else next(measured) for row, pair in zip(rows, pairs, strict=True)]

    def learnt(self, row: Measured | Labelled) -> int:
        """Tokens that give a loss once the row is cut."""
        if isinstance(row, Measured):
            return max(0, min(row.tokens, self.how.max_length) - max(row.border, 1))
        return sum(label != IGNORED for label in row.labels[1 : self.how.max_length])

    @property
    def _only(self) -> bool:
        return self.how.format != "text" and self.how.completion_only

    def _tried(self, row: Row) -> Labelled | Exception:
        try:
            return self.label(row)
        except Exception as error:  # a template is a program of its own
            return error

    def _conversation(self, row: Row) -> Labelled:
        if self.chat is None:
            raise ValueError("the tokenizer has none")
        tools = row.get("tools")
        tools = json.loads(tools) if isinstance(tools, str) else tools
        if self.how.format == "prompt_completion":
            text, begin = self.chat.prompt_and_completion(row["prompt"], row["completion"], tools)
            return self._by_end(text, [(begin if self._only else 0, len(text))])
        if not self.how.assistant_only:
            text = self.chat.render(row["messages"], tools)
            return self._by_end(text, [(0, len(text))], whole=True)
        text, spans = self.chat.assistant_spans(row["messages"], tools)
        return self._by_marks(text, spans) if self.chat.is_marked else self._by_end(text, spans)

    def _by_end(self, text: str, spans: Sequence[Span], *, whole: bool = False) -> Labelled:
        """Labels on the tokens that end inside a stretch."""
        found = self.tokens.encode_rendered(text)
        inside = [whole or any(begin < end <= limit for begin, limit in spans) for _, end in found.offsets]
        return _masked(found.ids, inside)

    def _by_marks(self, text: str, spans: Sequence[Span]) -> Labelled:
        """Labels as transformers makes them of `{% generation %}` marks: from a stretch's first token to its last."""
        found = self.tokens.encode_rendered(text)
        inside = [False] * len(found.ids)
        for begin, end in spans:
            first, last = found.char_to_token(begin), found.char_to_token(end - 1)
            if first is None:
                break
            stop = last + 1 if last else len(inside)
            inside[first:stop] = [True] * (stop - first)
        return _masked(found.ids, inside)


def texts(row: Row, how: Labelling) -> Pair | None:
    """(prompt, completion); of a text all is the one, and the other is empty.  None for a conversation."""
    return None if is_conversation(row, how.format) else _texts(row, how)


def _texts(row: Row, how: Labelling) -> Pair:
    if how.format == "instruction":
        return split_instruction(row, how.instruction_template)
    if how.format == "text":
        return str(row["text"]), ""
    return str(row["prompt"]), str(row["completion"])


def is_conversation(row: Row, form: DataFormat) -> bool:
    """True for rows that a chat template lays out."""
    return form == "messages" or (form == "prompt_completion" and not isinstance(row["prompt"], str))


def content(row: Row, pair: Pair | None, form: DataFormat) -> bytes:
    """What makes a row the same as another."""
    if pair is not None:
        return "\0".join(pair).encode("utf-8", "surrogatepass")
    return json.dumps([row.get(column) for column in COLUMNS[form]], sort_keys=True, default=str).encode()


def misshapen(row: Row, form: DataFormat) -> str | None:
    """What is wrong with a row's form, or None."""
    for column in COLUMNS[form]:
        value = row.get(column)
        if value is None:
            return f"no `{column}`, which the format {form} needs"
        if not _CHECKS[form](value):
            kind = "a list of role and content" if form == "messages" else "a text"
            return f"`{column}` is {shown(value)}, not {kind}"
    if form == "prompt_completion" and isinstance(row["prompt"], str) != isinstance(row["completion"], str):
        return "one of `prompt` and `completion` is a text, the other a list of messages"
    return None


def roles_fault(row: Row, form: DataFormat) -> str | None:
    """What is out of order in a conversation, or None: system first, user and assistant in turn, assistant last."""
    if not is_conversation(row, form):
        return None
    turns = row["messages"] if form == "messages" else [*row["prompt"], *row["completion"]]
    roles = [str(turn["role"]) for turn in turns]
    talk = roles[1:] if roles[0] in ("system", "developer") else roles
    for number, (before, role) in enumerate(zip(["", *talk], talk, strict=False), 1 + len(roles) - len(talk)):
        if role not in _FOLLOWS.get(before, ()):
            return f"message {number} is `{role}`" + (f" after `{before}`" if before else " and comes first")
    return None if roles[-1] == "assistant" else f"the last message is `{roles[-1]}`, not `assistant`"


def _masked(ids: Sequence[int], inside: Sequence[bool]) -> Labelled:
    return Labelled(tuple(ids), tuple(i if learnt else IGNORED for i, learnt in zip(ids, inside, strict=True)))


def _are_messages(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(turn, dict) and "role" in turn and "content" in turn for turn in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_CHECKS: dict[DataFormat, Callable[[Any], bool]] = {
    "messages": _are_messages,
    "prompt_completion": lambda value: isinstance(value, str) or _are_messages(value),
    "instruction": _is_text,
    "text": _is_text,
}
_FOLLOWS = {
    "": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool", "ipython"),
    "tool": ("assistant", "tool"),
    "ipython": ("assistant", "ipython"),
}
