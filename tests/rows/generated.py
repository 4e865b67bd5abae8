"""Rows of each form as people and their tools write them, by a seed: odd texts, tools, thinking, turns left out."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from tests.rows.tokenizers_for_tests import BOS, EOS, corpus

Row = dict[str, Any]
ODD = (
    *("", " ", "\n", "a\u0301", "\r\n", "\u200bzero", "x" * 400, "{output}", "{instruction} {input}", "{{ 1 }}"),
    *("{% raw %}", "</think>", "⟦⟧", "\ufeffmark", "👩‍👧", "ｶﾞ", "ﬁ", "İ", "\x00", "¨", "1e400", "null", "NaN"),
    *(EOS, BOS, "<|im_end|>", f"said {EOS}", "<|im_start|>user\nno"),
)
TEXTS = corpus(11, 60)
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}}}
    for name in ("get_port", "get_weather")
]


def text(draw: Random) -> str:
    """Some words, or something odd, or both."""
    parts = [draw.choice(ODD if draw.random() < 0.25 else TEXTS)[:200] for _ in range(draw.randint(1, 2))]
    return draw.choice(("", " ", "\n")).join(parts)


def said(draw: Random) -> str:
    """A text that is not blank: a turn has to say something."""
    return text(draw).strip() or "yes"


def raw(draw: Random) -> Row:
    return {"text": text(draw) or "a"}


def pair(draw: Random) -> Row:
    return {"prompt": text(draw), "completion": text(draw)}


def instruction(draw: Random) -> Row:
    return {"instruction": text(draw), "output": text(draw)} | draw.choice(({}, {"input": ""}, {"input": text(draw)}))


def instruction_with_turns(draw: Random) -> Row:
    """Alpaca's columns as other tools fill them: with a system turn and what was said before."""
    made = {"instruction": said(draw), "output": said(draw)} | draw.choice(({}, {"input": None}, {"input": said(draw)}))
    if draw.random() < 0.5:
        made["system"] = draw.choice(("", said(draw)))
    if draw.random() < 0.5:
        history = [[said(draw), said(draw)] for _ in range(draw.randint(0, 2))]
        made["history"] = draw.choice((history, json.dumps(history)))
    return made


def plain_talk(draw: Random) -> Row:
    """What every chat template prints: turns of user and assistant."""
    turns: list[Row] = []
    for _ in range(draw.randint(1, 3)):
        turns += [{"role": "user", "content": said(draw)}, {"role": "assistant", "content": said(draw)}]
    return {"messages": turns}


def sharegpt(draw: Random) -> Row:
    """Turns of `from` and `value`, as many data sets of the Hub have them."""
    names = {"user": "human", "assistant": "gpt"}
    turns = plain_talk(draw)["messages"]
    return {"id": 1, "conversations": [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns]}


def scene(draw: Random) -> Row:
    """Turns deep in a row, with words that nobody knows."""
    names = {"user": "asker", "assistant": "model_a"}
    turns = plain_talk(draw)["messages"]
    said = [{"who": names[turn["role"]], "said": {"en": turn["content"]}} for turn in turns]
    return {"data": {"log": said}, "source": "a"}


def question(draw: Random) -> Row:
    return {"question": text(draw), "answer": text(draw)} | draw.choice(({}, {"context": text(draw)}))


def quiz(draw: Random) -> Row:
    """An answer in a list of them."""
    return {"q": text(draw), "answers": {"text": [text(draw), "another"]}, "id": draw.random()}


def talk(draw: Random) -> Row:
    """OpenAI's form and its kin."""
    made = plain_talk(draw)
    turns = made["messages"]
    if draw.random() < 0.4:
        turns.insert(0, {"role": "system", "content": said(draw)})
    if draw.random() < 0.3:
        turns[-1] |= draw.choice(({"train": False}, {"weight": 0}, {"weight": 1}))
        turns += [{"role": "user", "content": "and?"}, {"role": "assistant", "content": said(draw)}]
    if draw.random() < 0.3:
        turns[-1]["reasoning_content"] = said(draw)
    if draw.random() < 0.3:
        turns[0]["content"] = [{"type": "text", "text": said(draw)}, {"type": "text", "text": "more"}]
    if draw.random() < 0.4:
        turns[-1:] = [*called(draw), turns[-1]]
        made["tools"] = draw.choice((TOOLS, json.dumps(TOOLS)))
    if draw.random() < 0.2:
        names = {"user": "human", "assistant": "gpt"}
        turns[:] = [turn | {"role": names.get(turn["role"], turn["role"])} for turn in turns]
    return made


def called(draw: Random) -> list[Row]:
    """A call and what the tool answers."""
    arguments: Any = {"city": said(draw), "days": draw.randint(1, 9)}
    function = {"name": draw.choice(TOOLS)["function"]["name"], "arguments": draw.choice((arguments, "{}"))}
    call = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}
    return [call, {"role": "tool", "content": said(draw)}]


def talk_in_two(draw: Random) -> Row:
    """Prompt and completion of messages."""
    turns = plain_talk(draw)["messages"]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def story(draw: Random) -> Row:
    """A text in a column of another name."""
    return {"story": raw(draw)["text"], "id": draw.randint(1, 9)}


def rows(make: Callable[[Random], Row], seed: int, count: int) -> list[Row]:
    draw = Random(seed)
    return [make(draw) for _ in range(count)]
