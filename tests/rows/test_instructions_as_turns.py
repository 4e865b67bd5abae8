"""Alpaca's rows through the chat template: the same tokens as the conversation that they stand for."""

from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.row_rules import RowRules
from sftrun.rows import shape
from sftrun.rows.labels import Labelled, Labeller, question
from sftrun.rows.tokenizer import Tokens, load
from tests.rows.tokenizers_for_tests import CHAT_TEMPLATE, UNMARKED, byte_level, save

CHAT = RowRules(instruction_template="chat")
ROW = {"instruction": "Name the port.", "output": "8000"}
HISTORY = [["Hi", "Hello."], ["Which file?", "server.toml"]]
TURNS = [turn for asked, answer in HISTORY for turn in (("user", asked), ("assistant", answer))]
SAME = {
    "an instruction": (ROW, [("user", "Name the port."), ("assistant", "8000")]),
    "with an input": (ROW | {"input": "port = 8000"}, [("user", "Name the port.\nport = 8000"), ("assistant", "8000")]),
    "an input alone": (
        {"instruction": "", "input": "Name it.", "output": "8000"},
        [("user", "Name it."), ("assistant", "8000")],
    ),
    "nothing but empty columns": (
        ROW | {"input": "", "system": None, "history": []},
        [("user", "Name the port."), ("assistant", "8000")],
    ),
    "with a system turn": (
        ROW | {"system": "Be brief."},
        [("system", "Be brief."), ("user", "Name the port."), ("assistant", "8000")],
    ),
    "with history": (ROW | {"history": HISTORY}, [*TURNS, ("user", "Name the port."), ("assistant", "8000")]),
    "with history as JSON text": (
        ROW | {"history": '[["Hi", "Hello."]]'},
        [*TURNS[:2], ("user", "Name the port."), ("assistant", "8000")],
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(byte_level(), tmp_path_factory.mktemp("model"))


def tokens(folder: Path, template: str) -> Tokens:
    found = load(folder, RowRules(chat_template=template))
    assert isinstance(found, Tokens)
    return found


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, UNMARKED])
@pytest.mark.parametrize("name", SAME)
def test_a_row_has_the_tokens_and_labels_of_its_conversation(name: str, template: str, folder: Path) -> None:
    row, said = SAME[name]
    talk = {"messages": [{"role": role, "content": content} for role, content in said]}
    known = tokens(folder, template)
    assert shape.fault(row, "instruction", CHAT) is None
    made = list(Labeller(CHAT, "instruction", 999, known).labels([row]))
    assert isinstance(made[0], Labelled)
    assert made == list(Labeller(RowRules(), "messages", 999, known).labels([talk]))


def test_a_question_is_the_row_s_own_text_up_to_its_answer(folder: Path) -> None:
    known = tokens(folder, CHAT_TEMPLATE)
    (made,) = Labeller(CHAT, "instruction", 999, known).labels([ROW | {"system": "Be brief."}])
    assert isinstance(made, Labelled)
    text = question("Name the port.", CHAT, "instruction", known, is_conversation=True, system="Be brief.")
    asked = tuple(known.encode_rendered(text).ids)
    assert asked == made.ids[: len(asked)]
    assert set(made.labels[: len(asked)]) == {-100}
    assert -100 not in made.labels[len(asked) : -1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"input": 3}, "`input` is `3`, not a text"),
        ({"system": ["Be brief."]}, "`system` is"),
        ({"history": "Hi"}, "not a list of pairs"),
        ({"history": [["Hi"]]}, "not a list of pairs"),
        ({"history": [["Hi", None]]}, "not a list of pairs"),
        ({"tools": "{"}, "not JSON"),
    ],
)
def test_what_is_no_turn_is_a_fault(more: dict[str, Any], words: str) -> None:
    assert words in (shape.fault(ROW | more, "instruction", CHAT) or "")


def test_all_of_its_columns_are_read() -> None:
    assert shape.unread(ROW | {"system": "a", "history": HISTORY, "input": "b"}, "instruction", CHAT) == ()
    assert shape.unread(ROW | {"context": "a"}, "instruction", CHAT) == ("context",)


def test_the_system_turn_of_a_row_is_known() -> None:
    assert shape.system(ROW | {"system": "Be brief."}, "instruction") == "Be brief."
    assert shape.system(ROW, "instruction") is None
