"""A row with its answer -> what is asked, and what is expected: an evaluation asks as a training row would have it."""

from typing import NamedTuple

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows import shape, turns
from sftrun.rows.labels import asking
from sftrun.rows.plain import Row
from sftrun.rows.template import Unrenderable
from sftrun.rows.tokenizer import Tokens
from sftrun.rows.turns import Conversation


class AskedRow(NamedTuple):
    """`text` is what the model reads up to where its answer begins; None of running text, which asks nothing.

    `shown` is the question as people see it.  `expected` of None: the row has no answer.
    """

    text: str | None
    shown: str
    expected: str | None


def asked_row(row: Row, form: DataFormat, rules: RowRules, tokens: Tokens) -> AskedRow:
    """Of a row without faults.  Raises Unrenderable."""
    if form == "text":
        return AskedRow(None, row[rules.text_column], None)
    pair = shape.pair(row, form, rules)
    if pair is None:
        return _of_conversation(shape.conversation(row, form)[0], tokens)
    if form != "instruction":
        return AskedRow(pair[0], pair[0], pair[1].removesuffix(tokens.eos))
    said = [row.get(column) for column in ("instruction", "input")]
    return AskedRow(pair[0], "\n".join(text for text in said if text), row["output"].removesuffix(tokens.eos))


def _of_conversation(talk: Conversation, tokens: Tokens) -> AskedRow:
    """The last turn of the assistant is what is expected; all before it is asked."""
    last = max((at for at, turn in enumerate(talk.messages) if turn["role"] == "assistant"), default=None)
    before = talk.messages if last is None else talk.messages[:last]
    template = tokens.template_for(talk.tools)
    if template is None:
        raise Unrenderable("the tokenizer has no chat template")
    text = asking(template, talk._replace(messages=before, learn=talk.learn[: len(before)]))
    shown = next((turns.text_of(turn["content"]) for turn in reversed(before) if turn["role"] == "user"), "")
    return AskedRow(text, shown, None if last is None else turns.text_of(talk.messages[last]["content"]))
