"""The token that turns are trained to end with, found in what is learnt."""

from collections import Counter
from typing import Any

import pytest

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows import ends
from sftrun.rows.labels import Labelled, Labeller
from sftrun.rows.tokenizer import Tokens, load
from tests.rows.tokenizers_for_tests import EOS, UNMARKED, byte_level, save

TALK = {
    "messages": [
        {"role": "user", "content": "What is asked?"},
        {"role": "assistant", "content": "Said."},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "More."},
    ]
}
BEGIN = "<|im_start|>user\nWhat is asked?<|im_end|>\n<|im_start|>assistant\nSai"
PHI = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% else %}{{ eos_token }}{% endif %}"
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    found = load(save(byte_level(), tmp_path_factory.mktemp("model")), RowRules(chat_template=UNMARKED))
    assert isinstance(found, Tokens)
    return found


def ends_of(row: dict[str, Any], tokens: Tokens, form: DataFormat = "messages", longest: int = 999) -> list[str]:
    labeller = Labeller(RowRules(), form, longest, tokens)
    (made,) = labeller.labels([row])
    assert isinstance(made, Labelled)
    return list(ends.of_row(labeller.cut(made), tokens))


def test_each_turn_ends_with_the_template_s_token_whatever_space_follows(tokens: Tokens) -> None:
    assert ends_of(TALK, tokens) == ["<|im_end|>", "<|im_end|>"]


def test_a_text_ends_with_the_end_of_sequence_token(tokens: Tokens) -> None:
    assert ends_of({"prompt": "a", "completion": "b"}, tokens, "prompt_completion") == [EOS]


def test_a_turn_that_is_cut_has_no_end(tokens: Tokens) -> None:
    assert ends_of(TALK, tokens, longest=len(tokens.encode_rendered(BEGIN).ids)) == []


def test_a_template_that_ends_turns_and_conversations_has_both(tokens: Tokens) -> None:
    phi = load(tokens.folder, RowRules(chat_template=PHI))
    assert isinstance(phi, Tokens)
    assert ends_of(TALK, phi) == ["<|im_end|>", EOS]


def test_a_token_that_somebody_typed_once_is_no_end() -> None:
    assert ends.usual(Counter({"<|im_end|>": 99, "<unk>": 1})) == ("<|im_end|>",)
    assert ends.usual(Counter()) == ()
