"""The turns of a conversation as people write them -> as chat templates take them, and what is wrong with one.

OpenAI's form and its kin: `content` null beside `tool_calls`, content in parts, arguments and `tools` as JSON text,
`weight: 0` or `train: false` on a turn that is not to be learnt, roles under other tools' names.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sftrun.rows.plain import is_absent, says_nothing, shown

Message = dict[str, Any]
# of other tools' conversations, in small letters
ROLES: Final = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
}
_OURS: Final = frozenset({"system", "developer", "user", "assistant", "tool", "ipython", "observation", "function"})
THINKING: Final = ("reasoning_content", "thinking", "reasoning")
_LEARN: Final = ("train", "weight")
# what a turn says beside its content that no template prints
_OLDER: Final = {
    "function_call": "`tool_calls`",
    "refusal": "it as `content`",
    "audio": "its words as `content`",
    "images": "rows without them",
}
_FOLLOWS = {
    "": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool", "ipython", "observation", "function"),
    "tool": ("assistant", "tool"),
    "ipython": ("assistant", "ipython"),
    "observation": ("assistant", "observation"),
    "function": ("assistant", "function"),
}


class Conversation(NamedTuple):
    """Turns as a template takes them; `learn` says of each whether it is to be learnt, if the assistant says it.

    `renamed` are the roles that stood under another name.
    """

    messages: tuple[Message, ...]
    tools: list[Any] | None
    learn: tuple[bool, ...]
    renamed: frozenset[str] = frozenset()

    def until(self, end: int) -> tuple[Message, ...]:
        return self.messages[:end]


def conversation(messages: Sequence[Mapping[str, Any]], tools: Any = None) -> Conversation:
    """Turns without faults, made plain."""
    made = tuple(_plain(turn) for turn in messages)
    learn = tuple(_is_learnt(turn) for turn in messages)
    renamed = frozenset(
        str(turn["role"]) for turn, plain in zip(messages, made, strict=True) if turn["role"] != plain["role"]
    )
    return Conversation(made, _tools(tools), learn, renamed)


def other_forms(talk: Conversation) -> Iterator[Conversation]:
    """The same as some templates want it: with arguments as JSON text, or with each content as a list of one text."""
    if any(turn.get("tool_calls") for turn in talk.messages):
        yield talk._replace(messages=tuple(_with_calls(turn, _as_text) for turn in talk.messages))
    yield talk._replace(messages=tuple(turn | {"content": _parts(turn["content"])} for turn in talk.messages))


def text_of(content: Any) -> str:
    """A content as one text."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def thought(turn: Mapping[str, Any]) -> str:
    """What a turn thinks apart from its content; empty where it doesn't."""
    return next((value for key in THINKING if isinstance(value := turn.get(key), str) and value), "")


def system(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What the system turn says that turns without faults begin with; None where there is none."""
    first = _plain(messages[0]) if messages else {}
    return str(first["content"]) if first.get("role") == "system" else None


def says(turn: Mapping[str, Any]) -> bool:
    """Whether a turn made plain has anything in it."""
    return bool(not says_nothing(text_of(turn["content"])) or turn.get("tool_calls") or thought(turn).strip())


def fault(messages: object, column: str) -> str | None:
    """What is wrong with the turns of that column, or None."""
    if not isinstance(messages, list) or not messages or not all(isinstance(turn, dict) for turn in messages):
        return f"`{column}` is {shown(messages)}, not a list of role and content"
    for number, turn in enumerate(messages, 1):
        wrong = _turn_fault(turn)
        if wrong is not None:
            return f"turn {number} of `{column}`: {wrong}"
    return None


def tools_fault(tools: object) -> str | None:
    """What is wrong with a row's `tools`, or None."""
    if is_absent(tools) or tools == "":
        return None
    try:
        found = json.loads(tools) if isinstance(tools, str) else tools
    except (ValueError, RecursionError):
        return f"`tools` is {shown(tools)}, not JSON"
    if found is None or (isinstance(found, list) and all(isinstance(tool, dict) for tool in found)):
        return None
    return f"`tools` is {shown(tools)}, not a list of tools"


def order_fault(talk: Conversation) -> str | None:
    """What is out of order, or None: system first, user and assistant in turn, the assistant last."""
    roles = [str(turn["role"]) for turn in talk.messages]
    rest = roles[1:] if roles[0] in ("system", "developer") else roles
    for number, (before, role) in enumerate(zip(["", *rest], rest, strict=False), 1 + len(roles) - len(rest)):
        if role not in _FOLLOWS.get(before, ()):
            return f"message {number} is `{role}`" + (f" after `{before}`" if before else " and comes first")
    return None if roles[-1] == "assistant" else f"the last message is `{roles[-1]}`, not `assistant`"


def _turn_fault(turn: Mapping[str, Any]) -> str | None:
    role, content, calls = turn.get("role"), turn.get("content"), turn.get("tool_calls")
    if not isinstance(role, str) or not role.strip():
        return "no `role`" if role is None else f"`role` is {shown(role)}, not a word"
    if not is_absent(calls) and (wrong := _calls_fault(calls)) is not None:
        return wrong
    if calls and not is_absent(calls) and calls != "[]" and _role(role) != "assistant":
        return f"`tool_calls` of `{role}`: the assistant alone calls tools"
    for old, ours in _OLDER.items():
        if not is_absent(turn.get(old)):
            return f"`{old}` is read by nobody: write {ours}"
    wrong = _content_fault(content, calls or thought(turn) if _role(role) == "assistant" else None)
    return wrong or _mark_fault(turn) or _thinking_fault(turn)


def _content_fault(content: object, said_else: object) -> str | None:
    if is_absent(content):
        return None if said_else else "no `content`"
    if isinstance(content, list):
        return _parts_fault(content)
    return None if isinstance(content, str) else f"`content` is {shown(content)}, not a text"


def _parts_fault(parts: Sequence[Any]) -> str | None:
    for part in parts:
        if not isinstance(part, dict) or part.get("type", "text") != "text":
            kind = part.get("type") if isinstance(part, dict) else part
            return f"`content` has a part that is {shown(kind)}, not text"
        if not isinstance(part.get("text"), str):
            return "`content` has a part without `text`"
    return None


def _calls_fault(calls: object) -> str | None:
    try:
        found = json.loads(calls) if isinstance(calls, str) else calls
    except (ValueError, RecursionError):
        return f"`tool_calls` is {shown(calls)}, not JSON"
    if not isinstance(found, list) or not all(isinstance(call, dict) for call in found):
        return f"`tool_calls` is {shown(calls)}, not a list of calls"
    for call in found:
        function = call.get("function", call)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            return f"a call without a name: {shown(call)}"
        arguments = function.get("arguments")
        if not (is_absent(arguments) or isinstance(arguments, dict | str)):
            return f"`arguments` is {shown(arguments)}, not an object"
    return None


def _mark_fault(turn: Mapping[str, Any]) -> str | None:
    train, weight = turn.get("train"), turn.get("weight")
    if not is_absent(train) and not isinstance(train, bool):
        return f"`train` is {shown(train)}, not true or false"
    if not is_absent(weight) and weight not in (0, 1):
        return f"`weight` is {shown(weight)}: a turn is learnt (1) or not (0)"
    return None


def _thinking_fault(turn: Mapping[str, Any]) -> str | None:
    wrong = (key for key in THINKING if not is_absent(turn.get(key)) and not isinstance(turn[key], str))
    return next((f"`{key}` is {shown(turn[key])}, not a text" for key in wrong), None)


def _role(role: str) -> str:
    low = role.strip().lower()
    return low if low in _OURS else ROLES.get(low, role)


def _is_learnt(turn: Mapping[str, Any]) -> bool:
    return turn.get("train") is not False and turn.get("weight") != 0


def _plain(turn: Mapping[str, Any]) -> Message:
    made = {key: value for key, value in turn.items() if key not in _LEARN and not is_absent(value)}
    made["role"] = _role(str(turn["role"]))
    made["content"] = _content(turn.get("content"))
    if isinstance(made.get("tool_calls"), str):
        made["tool_calls"] = json.loads(made["tool_calls"])
    if not made.get("tool_calls"):
        made.pop("tool_calls", None)
    return _with_calls(made, _as_object)


def _content(content: Any) -> str:
    return "" if is_absent(content) else text_of(content)


def _parts(content: str) -> list[Message]:
    return [{"type": "text", "text": content}]


def _with_calls(turn: Message, arguments: Any) -> Message:
    if not turn.get("tool_calls"):
        return turn
    return turn | {"tool_calls": [_call(call, arguments) for call in turn["tool_calls"]]}


def _call(call: Message, arguments: Any) -> Message:
    if "function" in call:
        return call | {"function": _call(call["function"], arguments)}
    return call | {"arguments": arguments(call.get("arguments"))}


def _as_object(arguments: Any) -> Any:
    """OpenAI writes arguments as JSON text; a text that is none stays."""
    if is_absent(arguments):
        return {}
    if not isinstance(arguments, str):
        return arguments
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _tools(tools: Any) -> list[Any] | None:
    if is_absent(tools):
        return None
    found = json.loads(tools) if isinstance(tools, str) and tools else tools
    return found or None
