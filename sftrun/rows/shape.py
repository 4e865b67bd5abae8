"""One row against its form: what is wrong with it, what of it nobody reads, and its texts."""

from collections.abc import Sequence
from typing import Any, Final

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows import turns
from sftrun.rows.forms import COLUMNS, TURNS, Pair, columns_of, is_chat, layout, split_instruction, turns_of
from sftrun.rows.plain import Row, is_absent, listed, shown

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


def read_columns(form: DataFormat, rules: RowRules) -> tuple[str, ...]:
    """All columns that this form reads, needed or not."""
    return TURNS if is_chat(form, rules) else (*columns_of(form, rules.text_column), *_OPTIONAL[form])


def unread(row: Row, form: DataFormat, rules: RowRules) -> tuple[str, ...]:
    """Columns that hold something for a model, and that this form doesn't read."""
    read = read_columns(form, rules)
    return tuple(name for name, value in row.items() if name in SAYING and name not in read and not _is_empty(value))


def is_conversation(row: Row, form: DataFormat, rules: RowRules) -> bool:
    """True for rows that a chat template lays out."""
    if form == "prompt_completion":
        return not isinstance(_turns_or_text(row["prompt"]), str)
    return form == "messages" or is_chat(form, rules)


def conversation(row: Row, form: DataFormat) -> tuple[turns.Conversation, int]:
    """All turns of a row that is a conversation, and the number of the first that is not its prompt."""
    prompt, completion = _said(row, form)
    first = len(prompt) if form == "prompt_completion" else 0
    return turns.conversation([*prompt, *completion], row.get("tools")), first


def system(row: Row, form: DataFormat) -> str | None:
    """The system turn that a row which is a conversation begins with, or None."""
    return turns.system(_said(row, form)[0])


def _said(row: Row, form: DataFormat) -> tuple[Sequence[Row], Sequence[Row]]:
    """The turns as they stand in the row: those of its prompt, or all, and those of its completion."""
    if form == "prompt_completion":
        return _turns_or_text(row["prompt"]), _turns_or_text(row["completion"])
    return (listed(row["messages"]) if form == "messages" else turns_of(row)), ()


def fault(row: Row, form: DataFormat, rules: RowRules) -> str | None:
    """What is wrong with a row's form, or None: a value that is no text is never learnt as a program writes it."""
    for column in columns_of(form, rules.text_column):
        if is_absent(row.get(column)):
            return f"no `{column}`, which the format {form} needs"
    if form == "messages":
        return turns.fault(listed(row["messages"]), "messages") or turns.tools_fault(row.get("tools"))
    if form == "prompt_completion":
        return _pair_fault(row)
    wrong = next((name for name in columns_of(form, rules.text_column) if not isinstance(row[name], str)), None)
    if wrong is not None:
        return f"`{wrong}` is {shown(row[wrong])}, not a text"
    if is_chat(form, rules):
        return _chat_fault(row)
    return _input_fault(row, rules) if form == "instruction" else None


def pair(row: Row, form: DataFormat, rules: RowRules) -> Pair | None:
    """(prompt, completion) of a row without faults; of a text all is the one.  None for a conversation."""
    if is_conversation(row, form, rules):
        return None
    if form == "instruction":
        return split_instruction(row, rules.instruction_template)
    if form == "text":
        return row[rules.text_column], ""
    return row["prompt"], row["completion"]


def _pair_fault(row: Row) -> str | None:
    row = {column: _turns_or_text(row[column]) for column in COLUMNS["prompt_completion"]} | {"tools": row.get("tools")}
    texts = [isinstance(row[column], str) for column in COLUMNS["prompt_completion"]]
    if all(texts):
        return None
    if any(texts) and all(isinstance(row[column], str | list) for column in COLUMNS["prompt_completion"]):
        return "one of `prompt` and `completion` is a text, the other a list of messages"
    faults = (turns.fault(row[column], column) for column in COLUMNS["prompt_completion"])
    return next((found for found in faults if found is not None), None) or turns.tools_fault(row.get("tools"))


def _chat_fault(row: Row) -> str | None:
    for column in ("input", "system"):
        if not isinstance(row.get(column), str) and not is_absent(row.get(column)):
            return f"`{column}` is {shown(row[column])}, not a text"
    history = listed(row.get("history"))
    if history is not None and not (isinstance(history, list) and all(map(_is_exchange, history))):
        return f"`history` is {shown(history)}, not a list of pairs: what was asked, and the answer"
    return turns.tools_fault(row.get("tools"))


def _turns_or_text(value: Any) -> Any:
    """Turns also where a cell of a CSV file has them as JSON text; any other text is one."""
    if not isinstance(value, str) or not (value.lstrip().startswith("[{") and '"role"' in value):
        return value
    found = listed(value)
    return found if isinstance(found, list) else value


def _is_exchange(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(text, str) for text in value)


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
