"""What the assistant says is learnt, what others say is not, nothing is lost: for many templates, or it is refused."""

from typing import Any

import pytest

from sftrun.contract.row_rules import RowRules
from sftrun.rows import spans, turns, twins, whole
from sftrun.rows.labels import Labelled, Labeller, Refused
from sftrun.rows.template import Template
from sftrun.rows.tokenizer import Tokens, load
from tests.rows.tokenizers_for_tests import byte_level, save

VARIABLES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
TOOLS = [{"type": "function", "function": {"name": "get_port", "description": "p", "parameters": {"type": "object"}}}]
CALL = {"type": "function", "function": {"name": "get_port", "arguments": '{"service": "SERVICE-A"}'}}
# Mistral 7B v0.3's and Nemo's way: the system turn goes with the last question, which is none where an answer follows
SYSTEM_LAST = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}"
    "{% for m in loop_messages %}{% if m.role == 'user' %}{% if loop.last and system is defined %}"
    "{{ '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}{% else %}{{ '[INST] ' + m.content + '[/INST]' }}"
    "{% endif %}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
# as reasoning models have it: earlier thinking goes, the last turn's stands
HIDES_THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% if loop.last %}{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}{{ said }}"
    "{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


def talk(*said: tuple[str, str], tools: Any = None, **last: Any) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in said]
    messages[-1] |= last
    return {"messages": messages} | ({} if tools is None else {"tools": tools})


ONE = talk(("user", "USER-A?"), ("assistant", "SAID-A."))
THREE = talk(*(pair for n in "ABC" for pair in (("user", f"USER-{n}?"), ("assistant", f"SAID-{n}."))))
CONVERSATIONS = {
    "one turn": ONE,
    "system": talk(("system", "SYSTEM-A."), ("user", "USER-A?"), ("assistant", "SAID-A.")),
    "three turns": THREE,
    "system and three turns": {"messages": [{"role": "system", "content": "SYSTEM-A."}, *THREE["messages"]]},
    "the same answers": talk(*(("user", "AGAIN?"), ("assistant", "AGAIN?")) * 3),
    "blanks": talk(("user", "  USER-A?\n"), ("assistant", "\n  SAID-A. \n\n"), ("user", "B"), ("assistant", "SAID-B.")),
    "thinking": talk(("user", "USER-A?"), ("assistant", "SAID-A."), reasoning_content="THOUGHT-A."),
    "thinking in the content": talk(
        ("user", "USER-A?"),
        ("assistant", "<think>\nTHOUGHT-A.\n</think>\n\nSAID-A."),
        ("user", "B"),
        ("assistant", "C"),
    ),
    "tools": {
        "tools": TOOLS,
        "messages": [
            {"role": "user", "content": "USER-A?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "name": "get_port", "content": "TOOL-8001"},
            {"role": "assistant", "content": "SAID-B."},
        ],
    },
    "not to be learnt": talk(
        ("user", "USER-A?"), ("assistant", "WRONG-A."), ("user", "Sure?"), ("assistant", "SAID-B.")
    ),
    "two answers in a row": talk(("user", "USER-A?"), ("assistant", "SAID-A."), ("assistant", "SAID-B.")),
    "developer": talk(("developer", "SYSTEM-A."), ("user", "USER-A?"), ("assistant", "SAID-A.")),
    "two calls at once": {
        "tools": TOOLS,
        "messages": [
            {"role": "user", "content": "USER-A?"},
            {"role": "assistant", "content": "SAID-A.", "tool_calls": [CALL, CALL]},
            {"role": "tool", "name": "get_port", "content": "TOOL-8001"},
            {"role": "tool", "name": "get_port", "content": "TOOL-8002"},
            {"role": "assistant", "content": "SAID-B."},
        ],
    },
    "empty": talk(("user", "USER-A?"), ("assistant", "")),
    "other writing": talk(("user", "今日は？ USER-A"), ("assistant", "元気です。 SAID-A 👩‍👧")),
}
CONVERSATIONS["not to be learnt"]["messages"][1]["train"] = False
TEMPLATES = {
    **{name: twins.shipped(name) or "" for name in twins.names()},
    "qwen3, a letter changed": (twins.shipped("qwen3") or "").replace("# Tools", "# tools"),
    "llama3_1, a letter changed": (twins.shipped("llama3_1") or "") + "{# changed #}",
    "system with the last question": SYSTEM_LAST,
    "hides thinking": HIDES_THINKING,
}


def test_there_are_forty_templates_and_fifteen_conversations() -> None:
    assert len(TEMPLATES) >= 40
    assert len(CONVERSATIONS) == 15


def laid_out(template: Template, row: dict[str, Any]) -> tuple[turns.Conversation, spans.Spoken]:
    found = turns.conversation(row["messages"], row.get("tools"))
    return found, spans.by_rendering(template, found)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    found = load(save(byte_level(), tmp_path_factory.mktemp("tokenizer")))
    assert isinstance(found, Tokens)
    return found


def labelled(tokens: Tokens, template: str, row: dict[str, Any], **rules: Any) -> Labelled | Refused:
    tokens._templates = {"default": Template(template, VARIABLES)}
    return next(Labeller(RowRules(**rules), "messages", 10**6, tokens).labels([row]))


def learnt_of(tokens: Tokens, made: Labelled) -> tuple[str, str]:
    """(what is learnt, what is not), as texts."""
    parts = ([i for i, label in zip(*made, strict=True) if (label != -100) is wanted] for wanted in (True, False))
    said, heard = (tokens.tokenizer.decode(ids, skip_special_tokens=False) for ids in parts)
    return said, heard


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_of_any_template_the_right_part_is_learnt_or_the_row_is_refused(name: str, tokens: Tokens) -> None:
    for row in CONVERSATIONS.values():
        made = labelled(tokens, TEMPLATES[name], row)
        if isinstance(made, Refused):
            assert made.message
            continue
        said, heard = learnt_of(tokens, made)
        for message in row["messages"]:
            words = [word for word in str(message["content"] or "").split() if "-" in word]
            is_learnt = message["role"] == "assistant" and message.get("train", True)
            for word in (word for word in words if word in said + heard and "THOUGHT" not in word):
                assert word in (said if is_learnt else heard), (row, said)
                assert word not in (heard if is_learnt else said), (row, said)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_learns_a_plain_conversation_of_several_turns(name: str, tokens: Tokens) -> None:
    made = labelled(tokens, TEMPLATES[name], THREE)
    assert isinstance(made, Labelled), made
    assert all(f"SAID-{letter}." in learnt_of(tokens, made)[0] for letter in "ABC")


def test_earlier_turns_are_learnt_where_a_template_rewrites_them(tokens: Tokens) -> None:
    found, spoken = laid_out(Template(TEMPLATES["qwen3, a letter changed"], VARIABLES), THREE)
    said = [spoken.text[begin:end] for part in spoken.turns for begin, end in part]
    assert [text.replace("<think>\n\n</think>\n\n", "") for text in said] == [f"SAID-{n}.<|im_end|>\n" for n in "ABC"]
    assert whole.fault(found, spoken.text, [span for part in spoken.turns for span in part]) is None


def test_a_turn_begins_behind_what_a_server_puts_before_it(tokens: Tokens) -> None:
    template = Template(HIDES_THINKING, VARIABLES)
    _, spoken = laid_out(template, CONVERSATIONS["thinking"])
    ((begin, _),) = spoken.turns[1]
    asked = template.render(CONVERSATIONS["thinking"]["messages"][:1], ask=True)
    assert spoken.text[:begin] == asked
    assert spoken.text[begin:] == "THOUGHT-A.\n</think>\n\nSAID-A.<|im_end|>\n"


@pytest.mark.parametrize(
    ("template", "row", "words"),
    [
        (SYSTEM_LAST, CONVERSATIONS["system"], "does not print what `system` says"),
        ("phi3", CONVERSATIONS["tools"], "does not print the tool `get_port`"),
        ("llama3", CONVERSATIONS["thinking"], "thinks is not learnt"),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
            ONE,
            "not in the text",
        ),
        ("{{ raise_exception('never') }}", ONE, "refuses it: never"),
    ],
)
def test_what_a_template_can_t_print_is_an_error_at_its_row(
    template: str, row: dict[str, Any], words: str, tokens: Tokens
) -> None:
    made = labelled(tokens, twins.shipped(template) or template, row)
    assert isinstance(made, Refused)
    assert words in made.message


def test_a_wrong_mask_is_found_whatever_made_it() -> None:
    found = turns.conversation(THREE["messages"])
    text = "".join(turn["content"] for turn in found.messages)
    parts = [(text.index(turn["content"]), turn) for turn in found.messages]
    right = [(at, at + len(turn["content"])) for at, turn in parts if turn["role"] == "assistant"]
    assert whole.fault(found, text, right) is None
    assert "says is not learnt" in (whole.fault(found, text, right[1:]) or "")
    assert "`user` says would be learnt" in (whole.fault(found, text, [(0, len(text))]) or "")
    assert "not in the text" in (whole.fault(found, text.replace("SAID-B.", ""), right) or "")


def test_marks_that_leave_a_turn_out_are_refused(tokens: Tokens) -> None:
    marked = (
        "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    made = labelled(tokens, marked, THREE)
    assert isinstance(made, Refused)
    assert "`SAID-A.`" in made.message


def test_roles_of_other_tools_are_read_as_ours() -> None:
    found = turns.conversation([{"role": "Human", "content": "a"}, {"role": "GPT", "content": "b"}])
    assert [turn["role"] for turn in found.messages] == ["user", "assistant"]
    assert found.renamed == {"Human", "GPT"}


def test_of_several_templates_rows_with_tools_take_tool_use(tokens: Tokens) -> None:
    tokens._templates = {name: Template(name, {}) for name in ("default", "tool_use")}
    assert [getattr(tokens.template_for(tools), "text", "") for tools in (None, TOOLS)] == ["default", "tool_use"]
    tokens._templates = {"tool_use": Template("tool_use", {})}
    assert getattr(tokens.template_for(None), "text", "") == "tool_use"
