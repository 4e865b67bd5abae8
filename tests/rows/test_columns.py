"""Rows under other names: written ones, those of known forms, fields in fields; and what a source has not."""

from typing import Any

import pytest

from sftrun.contract.row_rules import RowRules
from sftrun.rows import columns
from sftrun.rows.columns import Reading
from sftrun.rows.plain import Row


def read(row: Row, form: Any = None, roles: dict[str, str] | None = None, **names: str) -> tuple[str, Row]:
    found = reading(row, form, roles, **names)
    return found.form, found.row(row)


def reading(row: Row, form: Any = None, roles: dict[str, str] | None = None, **names: str) -> Reading:
    found = columns.reading(RowRules().of_source(form, names, roles or {}), row)
    assert found is not None
    return found


def test_rows_with_this_houses_names_are_as_they_are() -> None:
    row = {"instruction": "a", "output": "b", "question": "c", "answer": "d"}
    assert read(row) == ("instruction", row)
    assert reading(row).found == ()


def test_sharegpt_is_read_by_its_columns() -> None:
    row = {"id": 1, "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 0}]}
    form, made = read(row)
    assert form == "messages"
    assert made["messages"] == [
        {"role": "user", "content": "a"},
        {"weight": 0, "role": "assistant", "content": "b"},
    ]
    assert "conversations" not in made
    assert dict(reading(row).found) == {"messages": "conversations", "role": "from", "content": "value"}


def test_openais_rows_are_taken_as_they_are() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    row = {
        "messages": [
            {"role": "user", "content": "a", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call, call], "weight": 0},
            {"role": "tool", "content": "1", "tool_call_id": "1"},
            {"role": "tool", "content": "2", "tool_call_id": "1"},
            {"role": "assistant", "content": "b", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "get", "parameters": {}}}],
        "parallel_tool_calls": True,
    }
    assert read(row) == ("messages", row)
    assert reading(row).fault(row, RowRules()) is None


KNOWN = [
    ({"question": "a", "answer": "b"}, {"instruction": "a", "output": "b"}),
    ({"query": "a", "response": "b"}, {"instruction": "a", "output": "b"}),
    ({"prompt": "a", "response": "b"}, {"instruction": "a", "output": "b"}),
    ({"problem": "a", "solution": "b"}, {"instruction": "a", "output": "b"}),
    ({"input": "a", "output": "b"}, {"instruction": "a", "output": "b"}),
    ({"instruction": "a", "context": "c", "response": "b"}, {"instruction": "a", "input": "c", "output": "b"}),
    ({"instruction": "a", "input": "c", "response": "b"}, {"instruction": "a", "input": "c", "output": "b"}),
    (
        {"system_prompt": "s", "question": "a", "response": "b"},
        {"system": "s", "instruction": "a", "output": "b"},
    ),
]


@pytest.mark.parametrize(("row", "made"), KNOWN, ids=lambda row: "-".join(row))
def test_names_of_known_forms_are_found(row: Row, made: Row) -> None:
    assert read(row) == ("instruction", made)


def test_written_names_go_before_those_that_are_found() -> None:
    row = {"question": "a", "answer": "b", "cot": "c"}
    assert read(row, output="cot") == ("instruction", {"instruction": "a", "output": "c", "answer": "b"})
    assert read(row, prompt="question", completion="cot")[0] == "prompt_completion"


def test_two_columns_can_change_places() -> None:
    row = {"input": "a", "output": "b", "instruction": "c"}
    assert read(row, instruction="input", input="instruction")[1] == {"instruction": "a", "input": "c", "output": "b"}


def test_fields_in_fields_and_in_lists_have_dots() -> None:
    row = {"data": {"q": "a"}, "answers": {"text": ["b", "c"]}, "a.b": "d"}
    assert read(row, instruction="data.q", output="answers.text.0")[1]["output"] == "b"
    assert read(row, prompt="a.b", completion="answers.text.1")[1]["prompt"] == "d"


def test_a_fields_column_stays_for_the_others_in_it() -> None:
    row = {"data": {"q": "a", "r": "b"}}
    assert read(row, instruction="data.q", output="data.r")[1] == row | {"instruction": "a", "output": "b"}


def test_roles_are_those_that_the_recipe_names() -> None:
    row = {"messages": [{"role": "customer", "content": "a"}, {"role": "agent", "content": "b"}]}
    made = read(row, roles={"customer": "user", "agent": "assistant"})[1]
    assert [turn["role"] for turn in made["messages"]] == ["user", "assistant"]


def test_turns_of_a_prompt_and_its_completion_have_other_names_too() -> None:
    row = {"prompt": [{"from": "human", "value": "a"}], "completion": [{"from": "gpt", "value": "b"}]}
    form, made = read(row)
    assert form == "prompt_completion"
    assert made == {
        "prompt": [{"role": "user", "content": "a"}],
        "completion": [{"role": "assistant", "content": "b"}],
    }


def test_a_column_that_is_not_there_is_said_with_the_nearest() -> None:
    rules = RowRules().of_source("auto", {"instruction": "querstion", "output": "meta.anser", "input": "zzz"}, {})
    row = {"question": "a", "meta": {"answer": "b"}}
    assert columns.reading(rules, row) is None
    assert columns.missing(rules, row) == {"instruction": "question", "output": "meta.answer", "input": ""}


def test_a_column_that_only_later_rows_have_is_doubted() -> None:
    found = reading({"instruction": "a", "output": "b"}, input="context")
    assert found.doubted == (("input", "context"),)
    assert found.row({"instruction": "a", "output": "b", "context": "c"})["input"] == "c"


def test_faults_speak_of_the_names_in_the_file() -> None:
    found = reading({"question": "a", "answer": "b"})
    assert found.fault(found.row({"question": "a"}), RowRules()) == "no `answer`, which the format instruction needs"
    assert found.fault(found.row({"question": "a", "answer": 8}), RowRules()) == "`answer` is `8`, not a text"


def test_rows_of_no_form_have_no_reading() -> None:
    assert columns.reading(RowRules(), {"front": "a", "back": "b"}) is None
    assert columns.reading(RowRules(format="text"), {"question": "a", "answer": "b"}) is None
