"""One row against its form: what is wrong with it, what of it nobody reads, and its texts."""

from typing import Final

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows import turns
from sftrun.rows.forms import COLUMNS, Pair, columns_of, layout, split_instruction
from sftrun.rows.plain import Row, is_absent, shown

_OPTIONAL: dict[DataFormat, tuple[str, ...]] = {
    "messages": ("tools",),
    "prompt_completion": ("tools",),
    "instruction": ("input",),
    "text": (),
}
# columns that say something to a model, wherever they come from: unread, they are worth a word
SAYING: Final = frozenset(
    {
        *("system", "system_prompt", "history", "context", "input", "instruction", "output", "response", "prompt"),
        *("completion", "question", "answer", "query", "text", "messages", "conversations", "tools", "functions"),
        *("thinking", "reasoning", "reasoning_content", "chosen", "rejected", "images", "image", "audio", "video"),
    }
)


def unread(row: Row, form: DataFormat, text_column: str = "text") -> tuple[str, ...]:
    """Columns that hold something for a model, and that this form doesn't read."""
    read = {*columns_of(form, text_column), *_OPTIONAL[form]}
    return tuple(name for name, value in row.items() if name in SAYING and name not in read and not _is_empty(value))


def is_conversation(row: Row, form: DataFormat) -> bool:
    """True for rows that a chat template lays out."""
    return form == "messages" or (form == "prompt_completion" and not isinstance(row["prompt"], str))


def fault(row: Row, form: DataFormat, rules: RowRules) -> str | None:
    """What is wrong with a row's form, or None: a value that is no text is never learnt as a program writes it."""
    for column in columns_of(form, rules.text_column):
        if is_absent(row.get(column)):
            return f"no `{column}`, which the format {form} needs"
    if form == "messages":
        return turns.fault(row["messages"], "messages") or turns.tools_fault(row.get("tools"))
    if form == "prompt_completion":
        return _pair_fault(row)
    wrong = next((name for name in columns_of(form, rules.text_column) if not isinstance(row[name], str)), None)
    if wrong is not None:
        return f"`{wrong}` is {shown(row[wrong])}, not a text"
    return _input_fault(row, rules) if form == "instruction" else None


def pair(row: Row, form: DataFormat, rules: RowRules) -> Pair | None:
    """(prompt, completion) of a row without faults; of a text all is the one.  None for a conversation."""
    if is_conversation(row, form):
        return None
    if form == "instruction":
        return split_instruction(row, rules.instruction_template)
    if form == "text":
        return row[rules.text_column], ""
    return row["prompt"], row["completion"]


def _pair_fault(row: Row) -> str | None:
    texts = [isinstance(row[column], str) for column in COLUMNS["prompt_completion"]]
    if all(texts):
        return None
    if any(texts) and all(isinstance(row[column], str | list) for column in COLUMNS["prompt_completion"]):
        return "one of `prompt` and `completion` is a text, the other a list of messages"
    faults = (turns.fault(row[column], column) for column in COLUMNS["prompt_completion"])
    return next((found for found in faults if found is not None), None) or turns.tools_fault(row.get("tools"))


def _input_fault(row: Row, rules: RowRules) -> str | None:
    value = row.get("input")
    if is_absent(value) or value == "":
        return None
    if not isinstance(value, str):
        return f"`input` is {shown(value)}, not a text"
    if "{input}" not in layout(rules.instruction_template, has_input=True):
        return "`input` holds a text, and `dataset.instruction_template` has no place for {input}"
    return None


def _is_empty(value: object) -> bool:
    return is_absent(value) or value in ("", [], {})
