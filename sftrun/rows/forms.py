"""The four forms of a training row: one rule for the checks and for the job.

`instruction` rows become prompt and completion here, so that what `data show` displays and what the trainer learns
from is the same text.  The template is Stanford Alpaca's; an empty `input` leaves its block out, and every completion
ends with the end-of-sequence token.  Under the template `chat` they become turns, which the chat template lays out.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows.plain import is_absent, listed

ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n{output}"
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n{output}"
)
PLAIN_INPUT = "{instruction}\n{input}\n\n{output}"
PLAIN = "{instruction}\n\n{output}"
NAMED_TEMPLATES = {"alpaca": (ALPACA, ALPACA_INPUT), "plain": (PLAIN, PLAIN_INPUT)}
CHAT: Final = "chat"

COLUMNS: dict[DataFormat, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "instruction": ("instruction", "output"),
    "text": ("text",),
}
INSTRUCTION: Final = ("instruction", "input", "output")
TURNS: Final = (*INSTRUCTION, "system", "history", "tools")  # columns that are read under `chat`
Pair = tuple[str, str]


def detect(columns: Iterable[str], text_column: str = "text") -> DataFormat | None:
    """The first form whose columns are all there, most telling first; None if there is none."""
    names = set(columns)
    return next((form for form in COLUMNS if names.issuperset(columns_of(form, text_column))), None)


def columns_of(form: DataFormat, text_column: str = "text") -> tuple[str, ...]:
    """The columns that a form can't do without."""
    return (text_column,) if form == "text" else COLUMNS[form]


def form_of(rules: RowRules, columns: Iterable[str]) -> DataFormat | None:
    """The form of a source by its first row's columns; None where the rules' own needs others, or none fits."""
    names = tuple(columns)
    form = detect(names, rules.text_column) if rules.format == "auto" else rules.format
    return form if form is not None and set(columns_of(form, rules.text_column)) <= set(names) else None


class Contradiction(NamedTuple):
    """A key that means nothing, or the opposite of what happens, for rows of a form; and what to write."""

    key: Literal["assistant_only_loss", "completion_only_loss"]
    needed: str
    instead: str


def contradictions(form: DataFormat, rules: RowRules) -> Iterator[Contradiction]:
    """What the rules say of the loss that rows of this form can't obey."""
    if rules.assistant_only and form != "messages":
        yield Contradiction("assistant_only_loss", "messages", "write `assistant_only_loss: auto`")
    if rules.completion_only and form == "text":
        yield Contradiction("completion_only_loss", "prompt_completion", "write `completion_only_loss: auto`")
    if rules.completion_only is False and form == "messages":
        instead = "write `assistant_only_loss: false` to learn from every turn"
        yield Contradiction("completion_only_loss", "prompt_completion", instead)


def is_chat(form: DataFormat, rules: RowRules) -> bool:
    """Whether instruction rows are turns, which the chat template lays out."""
    return form == "instruction" and rules.instruction_template == CHAT


def turns_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns of an instruction row: system, history, and the instruction with its input on a line of its own."""
    said = [("system", row["system"])] if row.get("system") and not is_absent(row["system"]) else []
    for asked, answer in listed(row.get("history")) or ():
        said += [("user", asked), ("assistant", answer)]
    asked = (text for key in ("instruction", "input") if isinstance(text := row.get(key), str) and text)
    said += [("user", "\n".join(asked)), ("assistant", row["output"])]
    return [{"role": role, "content": content} for role, content in said]


def split_instruction(row: Mapping[str, object], template: str) -> Pair:
    """(prompt, completion) of an instruction row: the template up to `{output}`, and what follows."""
    found = {key: row.get(key) for key in INSTRUCTION}
    values = {key: value if isinstance(value, str) else "" for key, value in found.items()}
    head, _, tail = layout(template, has_input=bool(values["input"])).partition("{output}")
    return _fill(head, values), values["output"] + _fill(tail, values)


def layout(template: str, *, has_input: bool) -> str:
    """The text of an instruction template, by name or as it is."""
    return NAMED_TEMPLATES[template][has_input] if template in NAMED_TEMPLATES else template


def _fill(text: str, values: Mapping[str, str]) -> str:
    # one pass, so that braces inside a value are never taken for a place
    parts: list[str] = []
    while text:
        found = min(((text.find("{" + key + "}"), key) for key in values if "{" + key + "}" in text), default=None)
        if found is None:
            break
        at, key = found
        parts += [text[:at], values[key]]
        text = text[at + len(key) + 2 :]
    return "".join([*parts, text])
