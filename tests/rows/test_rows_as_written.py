"""Rows as people write them: what says nothing is absent, what nobody reads is named, no value becomes a word."""

import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.row_rules import RowRules
from sftrun.rows import shape, turns, whole
from sftrun.rows.plain import says_nothing
from sftrun.rows.raw import find

USER, SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
CALL = {"function": {"name": "get_port", "arguments": "{}"}}


def fault(*said: dict[str, Any]) -> str | None:
    return shape.fault({"messages": list(said)}, "messages", RowRules())


@pytest.mark.parametrize("key", ["function_call", "refusal", "audio", "images"])
def test_what_a_turn_says_beside_its_content_and_nobody_reads_is_named(key: str) -> None:
    assert f"`{key}` is read by nobody" in (fault(USER, SAID | {key: "a"}) or "")
    assert fault(USER, SAID | {key: None}) is None


def test_the_assistant_alone_calls_tools() -> None:
    assert "`tool_calls` of `user`" in (fault(USER | {"tool_calls": [CALL]}, SAID) or "")
    assert fault(USER | {"tool_calls": []}, SAID) is None
    assert fault(USER, SAID | {"role": "gpt", "tool_calls": [CALL]}) is None


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", " \ufeff\u200d ", "\u00a0"])
def test_what_has_no_width_says_nothing(text: str) -> None:
    assert says_nothing(text)
    assert not turns.says({"content": text})


@pytest.mark.parametrize("text", ["a", "\u200ba", ".", "0"])
def test_any_letter_says_something(text: str) -> None:
    assert not says_nothing(text)


@pytest.mark.parametrize("said", ["<|im_end|>", " <|im_end|>\n"])
def test_a_turn_that_is_not_to_be_learnt_may_say_what_ends_others(said: str) -> None:
    left = SAID | {"content": said, "train": False}
    talk = turns.conversation([USER, left, USER, SAID])
    text = "".join(f"{turn['role']}: {turn['content']}<|im_end|>\n" for turn in talk.messages)
    begin = text.rindex("Hello.")
    assert whole.fault(talk, text, [(begin, begin + len("Hello.<|im_end|>"))]) is None
    assert "not to be learnt would be" in (whole.fault(talk, text, [(0, len(text))]) or "")


def test_turns_as_json_text_are_turns() -> None:
    row = {"prompt": json.dumps([USER]), "completion": json.dumps([SAID])}
    assert shape.fault(row, "prompt_completion", RowRules()) is None
    assert shape.is_conversation(row, "prompt_completion", RowRules())
    talk, first = shape.conversation(row, "prompt_completion")
    assert [turn["content"] for turn in talk.messages] == ["Hi", "Hello."]
    assert first == 1


@pytest.mark.parametrize("text", ['[{"a": 1}]', '[{"role": "user"', "[1]", '{"role": "user"}'])
def test_other_json_is_a_text(text: str) -> None:
    row = {"prompt": text, "completion": "a"}
    assert shape.fault(row, "prompt_completion", RowRules()) is None
    assert shape.pair(row, "prompt_completion", RowRules()) == (text, "a")


def test_a_file_that_describes_data_sets_holds_no_rows(tmp_path: Path) -> None:
    for name in ("dataset_info.json", "dataset_infos.json", "rows.json"):
        (tmp_path / name).write_text("[]")
    assert [path.name for path in find.find(".", tmp_path)] == ["rows.json"]
    assert [path.name for path in find.find("*.json", tmp_path)] == ["rows.json"]
    assert [path.name for path in find.find("dataset_info.json", tmp_path)] == ["dataset_info.json"]
