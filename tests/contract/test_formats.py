"""Rows and their forms: what is shown is what is learnt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftrun.rows.forms import COLUMNS, detect, prompt_of, split_instruction

ROW = {"instruction": "Add.", "input": "1, 2", "output": "3"}


def test_alpaca_is_stanfords_text() -> None:
    prompt, completion = split_instruction(ROW, "alpaca")
    assert prompt == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n"
    )
    assert completion == "3"


@pytest.mark.parametrize("row", [{**ROW, "input": ""}, {**ROW, "input": None}, {"instruction": "Add.", "output": "3"}])
def test_an_empty_input_leaves_its_block_out(row: dict[str, object]) -> None:
    prompt, _ = split_instruction(row, "alpaca")
    assert "### Input" not in prompt
    assert prompt.endswith("### Instruction:\nAdd.\n\n### Response:\n")


def test_a_template_of_ones_own_may_go_on_after_the_output() -> None:
    assert split_instruction(ROW, "Q: {instruction} {input}\nA: {output}\n--") == ("Q: Add. 1, 2\nA: ", "3\n--")


@given(st.text(), st.text(), st.text())
def test_braces_in_a_row_are_only_text(instruction: str, given_input: str, output: str) -> None:
    row = {"instruction": instruction, "input": given_input, "output": output}
    prompt, completion = split_instruction(row, "[{instruction}|{input}]{output}")
    assert (prompt, completion) == (f"[{instruction}|{given_input}]", output)


def test_a_question_is_put_as_a_row_has_it() -> None:
    assert prompt_of("Add.", "alpaca") == split_instruction({**ROW, "input": ""}, "alpaca")[0]


@pytest.mark.parametrize("form", COLUMNS)
def test_a_form_is_known_by_its_columns(form: str) -> None:
    assert detect([*COLUMNS[form], "id"]) == form  # type: ignore[index]


def test_the_most_telling_form_wins_and_none_is_none() -> None:
    assert detect(["text", "messages"]) == "messages"
    assert detect(["instruction", "response"]) is None
