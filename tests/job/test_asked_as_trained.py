"""What a model is asked is, token for token, what stands before an answer in the rows that it has learnt from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import ModelSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.prepare import row_tokenizer
from sftrun.job.train import samples, saved_tokenizer
from sftrun.rows.labels import IGNORED, Labelled, Labeller
from tests.rows.tokenizers_for_tests import UNMARKED, byte_level, marked_spaces, save, with_begin

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

QUESTION, ANSWER, SYSTEM = "What is naïve?  Say it\nbriefly.", "A word, 東京.", "Be brief."
USER, ASSISTANT = {"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}
TOLD = {"role": "system", "content": SYSTEM}
BEGUN = UNMARKED.replace("{% for", "<s>{% for", 1)  # a template that prints the begin itself


class Rows:
    """What a run knows of its rows: the row, its form, and the system turn that all of them had."""

    def __init__(self, form: DataFormat, row: dict[str, Any], system: str | None = None, **rules: Any) -> None:
        self.format, self.row, self.system, self.ends = form, row, system, ()
        self.given = rules

    def rules(self, template: str) -> RowRules:
        return RowRules(chat_template=template, **self.given)


ALPACA = {"instruction": QUESTION, "input": "", "output": ANSWER}
FORMS: dict[str, Rows] = {
    "messages": Rows("messages", {"messages": [USER, ASSISTANT]}),
    "messages with a system turn": Rows("messages", {"messages": [TOLD, USER, ASSISTANT]}, SYSTEM),
    "a conversation as prompt and completion": Rows("prompt_completion", {"prompt": [USER], "completion": [ASSISTANT]}),
    "the same with a system turn": Rows(
        "prompt_completion", {"prompt": [TOLD, USER], "completion": [ASSISTANT]}, SYSTEM
    ),
    "prompt and completion": Rows("prompt_completion", {"prompt": QUESTION, "completion": f" {ANSWER}"}),
    "instruction": Rows("instruction", ALPACA),
    "instruction, plain": Rows("instruction", ALPACA, instruction_template="plain"),
    "instruction, a text of one's own": Rows(
        "instruction", ALPACA, instruction_template="Q: {instruction}{input}\nA: {output}"
    ),
    "instruction through the chat template": Rows("instruction", ALPACA, instruction_template="chat"),
}
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": byte_level,
    "adds a begin": with_begin,
    "marks spaces": marked_spaces,
}


@pytest.mark.parametrize("template", [UNMARKED, BEGUN], ids=["template", "template that begins"])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_question_is_what_stands_before_the_answer_in_a_row(
    form: str, tokenizer: str, template: str, tmp_path: Path
) -> None:
    rows = FORMS[form]
    model = ModelSpec(name_or_path=str(save(TOKENIZERS[tokenizer](), tmp_path / "model")))
    rules = rows.rules(template)
    tokens = row_tokenizer.of_model(model, rules)
    labeller = Labeller(rules, rows.format, 999, tokens)
    (made,) = labeller.labels([rows.row])
    assert isinstance(made, Labelled)
    first_learnt = next(at for at, label in enumerate(made.labels) if label != IGNORED)

    rows.are_conversations = labeller.pairs([rows.row]) == [None]  # type: ignore[attr-defined]
    text = samples.wrap(QUESTION, rules, rows, tokens)  # type: ignore[arg-type]
    loaded = saved_tokenizer.load(model, tokens, [saved_tokenizer.Text("row", labeller.text(rows.row))])
    asked = samples._encode(loaded, [text], rows.are_conversations)["input_ids"][0].tolist()  # type: ignore[attr-defined]
    assert tuple(asked[:first_learnt]) == made.ids[:first_learnt]
    # where the end of a prompt and the begin of an answer are one token, it is learnt: the checks say so of such rows
    merged = 1 if (form, tokenizer) == ("instruction, plain", "bytes") else 0
    assert len(asked) == first_learnt + merged
