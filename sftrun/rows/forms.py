"""The four forms of a training row, and what becomes of each: one function for the checks and for the job.

`instruction` rows become prompt and completion here, so that what `data show` displays and what the trainer learns
from is the same text.  The template is Stanford Alpaca's; an empty `input` leaves its block out, and the
end-of-sequence token is added by the trainer to every completion.
"""

from collections.abc import Iterable, Mapping

from sftrun.contract.choices import DataFormat

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

COLUMNS: dict[DataFormat, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "instruction": ("instruction", "output"),
    "text": ("text",),
}


def detect(columns: Iterable[str]) -> DataFormat | None:
    """The first form whose columns are all there, most telling first; None if there is none."""
    names = set(columns)
    return next((form for form, needed in COLUMNS.items() if names.issuperset(needed)), None)


def split_instruction(row: Mapping[str, object], template: str) -> tuple[str, str]:
    """(prompt, completion) of an instruction row: the template up to `{output}`, and what follows."""
    values = {key: str(row.get(key) or "") for key in ("instruction", "input", "output")}
    head, _, tail = _choose(template, has_input=bool(values["input"])).partition("{output}")
    return _fill(head, values), values["output"] + _fill(tail, values)


def prompt_of(instruction: str, template: str) -> str:
    """The prompt that asks `instruction` with no input, as a training row would have it."""
    return split_instruction({"instruction": instruction}, template)[0]


def _choose(template: str, *, has_input: bool) -> str:
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
