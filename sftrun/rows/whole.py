"""The postcondition of a conversation: what must be learnt is, what others say is not, and nothing of the row is gone.

Whatever found the stretches that are learnt, by marks or by rendering, they are held against the row's own texts here.
A template may trim a text, write it as JSON, or leave earlier thinking out; it may not leave a turn out.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sftrun.rows.template import Span
from sftrun.rows.turns import Conversation, text_of, thought

_GAP = "\0"
_SPACE = re.compile(r"\s+")
_THOUGHT_OVER = re.compile(r"</think(?:ing)?>")
_MANY = 3


def fault(talk: Conversation, text: str, spans: Sequence[Span], *, only_assistant: bool = True) -> str | None:
    """What is amiss with a row as it was laid out, or None."""
    missing = next((name for name in _tool_names(talk.tools or ()) if name not in text), None)
    if missing is not None:
        return f"the chat template does not print the tool `{missing}`"
    learnt, rest = _parts(text, spans) if only_assistant else (text, text)
    return _said(talk, text, learnt, rest, only_assistant) or _heard(talk, text, rest)


def _said(talk: Conversation, text: str, learnt: str, rest: str, only_assistant: bool) -> str | None:
    """Of the assistant's turns."""
    last = max((n for n, turn in enumerate(talk.messages) if turn["role"] == "assistant"), default=-1)
    wanted = Counter(_answer(turn) for turn in _own(talk) if _answer(turn))
    for answer, times in wanted.items():
        if not _holds(learnt, answer, times):
            where = "learnt" if _holds(text, answer, times) else "in the text that the chat template makes"
            return f"what the assistant says is not {where}: {_begin(answer)}"
    for number, turn in enumerate(talk.messages):
        if turn["role"] != "assistant" or not talk.learn[number]:
            continue
        for name, value in _calls(turn):
            if not _holds(learnt, value):
                return f"the chat template does not print the assistant's call of `{name}`, or it is not learnt"
        hidden = thought(turn).strip()
        if hidden and not _holds(learnt, hidden) and (number == last or _holds(text, hidden)):
            return f"what the assistant thinks is not learnt: {_begin(hidden)}"
    if only_assistant:
        left = (turn for n, turn in enumerate(talk.messages) if _is_left_out(talk, n, learnt))
        return next((_unwanted(turn) for turn in left if _stands_too_seldom(talk, _answer(turn), rest)), None)
    return None


def _heard(talk: Conversation, text: str, rest: str) -> str | None:
    """Of everybody else's turns."""
    for turn in talk.messages:
        content = text_of(turn["content"]).strip()
        if turn["role"] == "assistant" or not content or _holds(rest, content):
            continue
        if _holds(text, content):
            return f"what `{turn['role']}` says would be learnt: {_begin(content)}"
        return f"the chat template does not print what `{turn['role']}` says: {_begin(content)}"
    return None


def _own(talk: Conversation) -> Iterator[Mapping[str, Any]]:
    return (t for t, learn in zip(talk.messages, talk.learn, strict=True) if t["role"] == "assistant" and learn)


def _is_left_out(talk: Conversation, number: int, learnt: str) -> bool:
    """Whether a turn that is not to be learnt is."""
    turn = talk.messages[number]
    if turn["role"] != "assistant" or talk.learn[number] or not _answer(turn):
        return False
    return _answer(turn) in learnt and _answer(turn) not in {_answer(other) for other in _own(talk)}


def _stands_too_seldom(talk: Conversation, answer: str, rest: str) -> bool:
    """Whether what is not learnt lacks an answer that is not to be: one may be a part of what is, like an end token."""
    others = (t for t, learn in zip(talk.messages, talk.learn, strict=True) if t["role"] != "assistant" or not learn)
    return rest.count(answer) < sum(answer in text_of(turn["content"]) for turn in others)


def _unwanted(turn: Mapping[str, Any]) -> str:
    return f"a turn that is not to be learnt would be: {_begin(_answer(turn))}"


def _answer(turn: Mapping[str, Any]) -> str:
    """What has to be printed of a content: templates may leave out what was thought before it."""
    return _THOUGHT_OVER.split(text_of(turn["content"]))[-1].strip()


def _parts(text: str, spans: Sequence[Span]) -> tuple[str, str]:
    inside, outside, at = [], [], 0
    for begin, end in sorted(spans):
        outside.append(text[at:begin])
        inside.append(text[begin:end])
        at = max(at, end)
    outside.append(text[at:])
    return _GAP.join(inside), _GAP.join(outside)


def _holds(text: str, wanted: str, times: int = 1) -> bool:
    """Whether a text is there so often: as it stands, as JSON writes it, or in other white space."""
    if text.count(wanted) >= times if times > 1 else wanted in text:
        return True
    written = json.dumps(wanted, ensure_ascii=False)[1:-1]
    for form in (written, json.dumps(wanted)[1:-1], json.dumps(written, ensure_ascii=False)[1:-1]):
        if text.count(form) >= times:
            return True
    return _SPACE.sub("", text).count(_SPACE.sub("", wanted)) >= times


def _calls(turn: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, a text that the call must show) of each call: its name, and each text among its arguments."""
    for call in turn.get("tool_calls") or ():
        function = call.get("function", call)
        name, arguments = function["name"], function.get("arguments")
        yield name, name
        values = arguments.values() if isinstance(arguments, dict) else ()
        yield from ((name, value.strip()) for value in values if isinstance(value, str) and value.strip())


def _tool_names(tools: Sequence[Any]) -> Iterator[str]:
    for tool in tools:
        inner = tool.get("function", tool) if isinstance(tool, dict) else {}
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            yield inner["name"]


def _begin(text: str) -> str:
    words = text.split()
    more = " …" if len(words) > _MANY else ""
    return f"`{' '.join(words[:_MANY])[:60]}{more}`"
