"""A task as the text that a model reads: the Alpaca prompt, or the messages of a chat."""

from __future__ import annotations

from tools.generators.task import Task

_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


def prompt(task: Task) -> str:
    """All that stands before the answer, with the line break after `### Response:`."""
    if task.input:
        return _WITH_INPUT.format(instruction=task.instruction, input=task.input)
    return _WITHOUT_INPUT.format(instruction=task.instruction)


def messages(task: Task) -> list[dict[str, str]]:
    """The same question and answer as one turn of a chat."""
    question = f"{task.instruction}\n\n{task.input}" if task.input else task.instruction
    return [{"role": "user", "content": question}, {"role": "assistant", "content": task.output}]
