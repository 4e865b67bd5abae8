"""Rows and their forms: what is shown is what is learnt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftrun.contract.row_rules import RowRules
from sftrun.rows import forms, shape
from sftrun.rows.forms import COLUMNS, detect, split_instruction

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


@pytest.mark.parametrize("form", COLUMNS)
def test_a_form_is_known_by_its_columns(form: str) -> None:
    assert detect([*COLUMNS[form], "id"]) == form  # type: ignore[index]


def test_the_most_telling_form_wins_and_none_is_none() -> None:
    assert detect(["text", "messages"]) == "messages"
    assert detect(["instruction", "response"]) is None


NAN = float("nan")
TURN = {"role": "user", "content": "hi"}
CALL = {"function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("instruction", {"instruction": "a", "output": None}, "no `output`"),
        ("instruction", {"instruction": "a", "output": NAN}, "no `output`"),
        ("instruction", {"instruction": "a", "output": 4}, "`output` is `4`, not a text"),
        ("instruction", {"instruction": "a", "output": "b", "input": True}, "`input` is `true`, not a text"),
        ("instruction", {"instruction": "a", "output": "b", "input": {"x": 1}}, "not a text"),
        ("text", {"text": ["a"]}, '`text` is `["a"]`, not a text'),
        ("prompt_completion", {"prompt": 3, "completion": "a"}, "`prompt` is `3`"),
        ("prompt_completion", {"prompt": "a", "completion": [TURN]}, "one of `prompt` and `completion`"),
        ("messages", {"messages": []}, "not a list of role and content"),
        ("messages", {"messages": [{"role": "user", "content": None}]}, "turn 1 of `messages`: no `content`"),
        ("messages", {"messages": [{"role": "user", "content": NAN}]}, "no `content`"),
        ("messages", {"messages": [{"role": "user", "content": 4}]}, "`content` is `4`, not a text"),
        ("messages", {"messages": [{"role": "user", "content": {"a": 1}}]}, "not a text"),
        ("messages", {"messages": [TURN, {"role": None, "content": "x"}]}, "turn 2 of `messages`: no `role`"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            'a part that is `"image_url"`',
        ),
        ("messages", {"messages": [TURN | {"weight": 0.5}]}, "`weight` is `0.5`"),
        ("messages", {"messages": [TURN | {"train": "no"}]}, '`train` is `"no"`'),
        ("messages", {"messages": [TURN], "tools": "[{"}, "not JSON"),
        ("messages", {"messages": [TURN], "tools": {"a": 1}}, "not a list of tools"),
        ("messages", {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "a call without a name"),
        ("messages", {"messages": [TURN | {"thinking": 3}]}, "`thinking` is `3`"),
    ],
)
def test_a_value_that_is_no_text_is_a_fault_and_never_learnt_as_python_writes_it(
    form: str, row: dict[str, object], words: str
) -> None:
    found = shape.fault(row, form, RowRules())  # type: ignore[arg-type]
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("instruction", {"instruction": "a", "output": "b", "input": NAN}),
        ("instruction", {"instruction": "a", "output": "b", "input": None}),
        ("messages", {"messages": [TURN, {"role": "assistant", "content": None, "tool_calls": [CALL]}]}),
        ("messages", {"messages": [TURN], "tools": None}),
        ("messages", {"messages": [TURN | {"weight": 1, "name": None}], "tools": "[]"}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
    ],
)
def test_what_is_absent_or_in_openai_s_form_is_no_fault(form: str, row: dict[str, object]) -> None:
    assert shape.fault(row, form, RowRules()) is None  # type: ignore[arg-type]


def test_an_input_that_the_template_has_no_place_for_is_a_fault() -> None:
    rules = RowRules(instruction_template="{instruction}: {output}")
    assert "no place for {input}" in (shape.fault(ROW, "instruction", rules) or "")
    assert shape.fault(ROW | {"input": ""}, "instruction", rules) is None


def test_columns_that_say_something_and_are_not_read_are_named() -> None:
    row = ROW | {"system": "Be brief.", "history": [["a", "b"]], "id": 3, "question": ""}
    assert shape.unread(row, "instruction", RowRules()) == ("system", "history")


@pytest.mark.parametrize(
    ("form", "rules", "keys"),
    [
        ("text", {"assistant_only": True}, ["assistant_only_loss"]),
        ("text", {"completion_only": True}, ["completion_only_loss"]),
        ("messages", {"completion_only": False}, ["completion_only_loss"]),
        ("messages", {"completion_only": True, "assistant_only": False}, []),
        ("instruction", {"completion_only": False, "assistant_only": False}, []),
    ],
)
def test_what_rows_of_a_form_can_t_obey_is_said(form: str, rules: dict[str, bool], keys: list[str]) -> None:
    assert [found.key for found in forms.contradictions(form, RowRules(**rules))] == keys  # type: ignore[arg-type]


def test_the_text_column_may_have_another_name() -> None:
    rules = RowRules(text_column="story")
    assert forms.form_of(rules, ["story", "id"]) == "text"
    assert shape.pair({"story": "Once."}, "text", rules) == ("Once.", "")
    assert forms.form_of(rules, ["text"]) is None
