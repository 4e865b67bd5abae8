"""A question is a training row's own text, up to where the answer begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.row_rules import RowRules
from sftrun.rows import template
from sftrun.rows.labels import IGNORED, Labelled, Labeller, question
from sftrun.rows.template import Template, Unrenderable
from sftrun.rows.tokenizer import Tokens, load
from tests.rows.tokenizers_for_tests import UNMARKED, byte_level, save

TEMPLATES = Path(template.__file__).with_name("templates") / "own"

PARTS = UNMARKED.replace("message['content']", "message['content'][0]['text']")
DEAF = UNMARKED.replace("for message in messages", "for message in messages if message['role'] != 'system'")
BEFORE = (("First?", "One."), ("Second?", "Two."))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tokens]:
    folder: Path = save(byte_level(), tmp_path_factory.mktemp("model"))

    def of(template: str) -> Tokens:
        found = load(folder, RowRules(chat_template=template))
        assert isinstance(found, Tokens)
        return found

    return of


def asked(tokens: Tokens, **more: Any) -> str:
    return question("Third?", RowRules(), "messages", tokens, is_conversation=True, **more)


@pytest.mark.parametrize("template", [UNMARKED, PARTS])
def test_system_turn_and_history_stand_where_a_row_has_them(tokens: Callable[[str], Tokens], template: str) -> None:
    known = tokens(template)
    said = [("system", "Be brief."), *(turn for q, a in BEFORE for turn in (("user", q), ("assistant", a)))]
    said += [("user", "Third?"), ("assistant", "Three.")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    (made,) = Labeller(RowRules(), "messages", 999, known).labels([row])
    assert isinstance(made, Labelled)
    last = max(at for at, label in enumerate(made.labels) if label == IGNORED) + 1
    text = asked(known, system="Be brief.", before=BEFORE)
    assert tuple(known.encode_rendered(text).ids) == made.ids[:last]


def test_a_template_that_leaves_the_system_turn_out_is_refused(tokens: Callable[[str], Tokens]) -> None:
    with pytest.raises(Unrenderable, match="does not print what `system` says"):
        asked(tokens(DEAF), system="Be brief.")
    assert "Third?" in asked(tokens(DEAF))


def test_rows_without_turns_are_asked_alone(tokens: Callable[[str], Tokens]) -> None:
    text = question("Hi", RowRules(), "text", tokens(UNMARKED), is_conversation=False, before=BEFORE)
    assert text == "Hi"


@pytest.mark.parametrize("name", ["llama2", "mistral", "mistral_tekken", "mistral_v3", "mistral_v7"])
def test_a_template_whose_users_turn_ends_where_the_answer_begins_asks(name: str) -> None:
    text = (TEMPLATES / f"{name}.jinja").read_text("utf-8")
    assert Template(text, {"bos_token": "<s>", "eos_token": "</s>"}).asks


def test_a_template_that_opens_the_answer_in_trained_rows_alone_does_not_ask() -> None:
    text = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    assert not Template(text, {}).asks
    assert Template(text + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}", {}).asks
