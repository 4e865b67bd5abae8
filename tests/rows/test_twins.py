"""The templates that ship: each by its name, and what those written here print, to the letter."""

import re
from pathlib import Path

import pytest

from sftrun.rows import twins
from sftrun.rows.template import Template

PAGE = (Path(__file__).parents[2] / "docs" / "data-formats.md").read_text("utf-8")
TALK = [("system", "SYS"), ("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")]
MESSAGES = [{"role": role, "content": content} for role, content in TALK]
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}
PRINTED = {
    "alpaca": "<s>SYS\n\n" + "".join(f"### Instruction:\nQ{n}\n\n### Response:\nA{n}</s>\n\n" for n in "12"),
    "chatml": "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in TALK),
    "deepseek": "<s>SYS\n\nUser: Q1\n\nAssistant: A1</s>User: Q2\n\nAssistant: A2</s>",
    "llama2": "<s>[INST] <<SYS>>\nSYS\n<</SYS>>\n\nQ1 [/INST] A1 </s><s>[INST] Q2 [/INST] A2 </s>",
    "mistral": "<s>[INST] SYS\n\nQ1 [/INST] A1</s>[INST] Q2 [/INST] A2</s>",
    "mistral_v3": "<s>[INST] SYS\n\nQ1[/INST] A1</s>[INST] Q2[/INST] A2</s>",
    "mistral_tekken": "<s>[INST]SYS\n\nQ1[/INST]A1</s>[INST]Q2[/INST]A2</s>",
    "mistral_v7": "<s>[SYSTEM_PROMPT]SYS[/SYSTEM_PROMPT][INST]Q1[/INST]A1</s>[INST]Q2[/INST]A2</s>",
    "phi4": "".join(f"<|im_start|>{role}<|im_sep|>{said}<|im_end|>" for role, said in TALK),
    "phi4_mini": "".join(f"<|{role}|>{said}<|end|>" for role, said in TALK),
    "tulu": "<|system|>\nSYS\n<|user|>\nQ1\n<|assistant|>\nA1</s>\n<|user|>\nQ2\n<|assistant|>\nA2</s>",
    "vicuna": "<s>SYS USER: Q1 ASSISTANT: A1</s>USER: Q2 ASSISTANT: A2</s>",
    "zephyr": "".join(f"<|{role}|>\n{said}</s>\n" for role, said in TALK),
}
OWN = sorted(file.stem for file in (twins.FOLDER / "own").glob("*.jinja"))


def template(name: str) -> Template:
    return Template(twins.shipped(name) or "", VARIABLES)


def test_each_of_our_own_is_held_to_its_text() -> None:
    assert sorted(PRINTED) == OWN


@pytest.mark.parametrize("name", PRINTED)
def test_a_template_prints_what_the_model_s_makers_publish(name: str) -> None:
    assert template(name).render(MESSAGES) == PRINTED[name]


@pytest.mark.parametrize("name", PRINTED)
def test_what_asks_for_an_answer_is_what_stands_before_it_in_a_row(name: str) -> None:
    asked = template(name).render(MESSAGES[:-1], ask=True)
    assert PRINTED[name].startswith(asked)
    assert PRINTED[name].removeprefix(asked).lstrip().startswith("A2")


@pytest.mark.parametrize("name", ["Qwen2.5", "qwen-2.5", "QWEN2_5", "qwen"])
def test_a_name_is_known_however_it_is_written(name: str) -> None:
    assert twins.shipped(name) == twins.shipped("qwen2_5") is not None


@pytest.mark.parametrize("name", ["own.jinja", "chatml.jinja", "../own/chatml_training", "", "nothing"])
def test_what_is_no_name_of_ours_is_none(name: str) -> None:
    assert twins.shipped(name) is None


def test_names_stay_apart_without_their_signs() -> None:
    plain = {re.sub("[-_. ]", "", name) for name in (*twins.names(), *twins.ALIASES)}
    assert len(plain) == len(twins.names()) + len(twins.ALIASES)
    assert all(twins.shipped(name) for name in (*twins.names(), *twins.ALIASES))


def test_the_page_names_them_all() -> None:
    table = PAGE[PAGE.index("| names | from |") : PAGE.index("A template that has no place")]
    assert set(re.findall(r"`(\w+)`", table.partition("Also known")[0])) == set(twins.names())
    assert dict(re.findall(r"`(\w+)`\s+\(`(\w+)`\)", table.partition("Also known")[2])) == twins.ALIASES
