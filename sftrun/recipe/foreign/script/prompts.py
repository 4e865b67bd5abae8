"""How a script makes text of a row: the template that its function fills in, and from which columns."""

import ast
from typing import NamedTuple

from sftrun.recipe.foreign.script.calls import Script
from sftrun.recipe.foreign.script.follow import Follower, assigned, name_of, text
from sftrun.rows.forms import NAMED_TEMPLATES

_COLUMNS = ("instruction", "input", "output")
_CHAT = ("apply_chat_template",)


class Prompt(NamedTuple):
    """What a row becomes: `template` with our names, from these columns of theirs; `is_chat` by a chat template."""

    template: str
    columns: dict[str, str]
    is_chat: bool
    node: ast.AST


class Piece(NamedTuple):
    """A part of a template: words, or the column whose value stands there."""

    words: str
    column: str


def prompt_of(script: Script, function: str) -> Prompt | None:
    """The prompt that a function of the script makes; None where it can't be followed."""
    functions = (one for one in ast.walk(script.module) if isinstance(one, ast.FunctionDef))
    node = next((one for one in functions if one.name == function), None)
    if node is None:
        return None
    names = _columns(node)
    chat = next((one for one in ast.walk(node) if isinstance(one, ast.Call) and name_of(one.func) in _CHAT), None)
    if chat is not None:
        return _chat(node, chat)
    follower = Follower(script.module, node)
    templates = [made for one in ast.walk(node) if (made := _template(one, follower, names)) is not None]
    return _named(templates, node) or (None if templates else _one_text(node))


def _one_text(node: ast.AST) -> Prompt | None:
    """A row's one column as it is, with the end-of-sequence token behind it."""
    columns = {column for one in ast.walk(node) if isinstance(one, ast.Subscript) and (column := _subscript(one))}
    calls = {name_of(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
    if len(columns) != 1 or calls - {"strip", "map", "list", "zip"}:
        return None
    column = columns.pop()
    return Prompt("{text}", {} if column == "text" else {"text": column}, False, node)


def _chat(node: ast.AST, chat: ast.Call) -> Prompt:
    """Through the chat template: a list of turns of the row, or turns made of columns."""
    turns = [one for one in ast.walk(node) if isinstance(one, ast.Dict) and _is_turn(one)]
    if not turns:
        return Prompt("", {}, True, chat)
    names = [column for turn in turns for column in _row_columns(turn)]
    pairs = zip(("instruction", "output"), names, strict=False) if len(names) == 2 else ()
    columns = {ours: theirs for ours, theirs in pairs if ours != theirs}
    return Prompt("chat" if len(names) == 2 and len(turns) == 2 else "?", columns, True, chat)


def _is_turn(node: ast.Dict) -> bool:
    keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return keys == {"role", "content"}


def _row_columns(turn: ast.Dict) -> list[str]:
    """The columns of a turn's content."""
    found = dict(zip([text(key) for key in turn.keys if key], turn.values, strict=False)).get("'content'")
    return [column for column in [_subscript(found)] if column] if found is not None else []


def _columns(node: ast.AST) -> dict[str, str]:
    """Names of a formatting function -> the columns that they hold, through `zip` and comprehensions."""
    body = getattr(node, "body", [])
    names = {name: column for name, value in assigned(body).items() if (column := _subscript(value))}
    loops = [one for one in ast.walk(node) if isinstance(one, ast.For | ast.comprehension)]
    for loop in loops:
        if isinstance(loop.iter, ast.Call) and name_of(loop.iter.func) == "zip" and isinstance(loop.target, ast.Tuple):
            for target, source in zip(loop.target.elts, loop.iter.args, strict=False):
                column = _subscript(source) or names.get(text(source))
                if isinstance(target, ast.Name) and column:
                    names[target.id] = column
    for loop in loops:
        for inner in getattr(loop, "body", []):
            for name, value in assigned([inner]).items():
                if column := _subscript(value):
                    names[name] = column
    return names


def _subscript(node: ast.expr | None) -> str | None:
    """The column of `row["x"]`, `row["x"][i]` or `row.get("x", "")`."""
    if isinstance(node, ast.Subscript):
        key = node.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value
        return _subscript(node.value) if isinstance(node.value, ast.Subscript) else None
    if (
        isinstance(node, ast.Call)
        and name_of(node.func) == "get"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        return str(node.args[0].value)
    if isinstance(node, ast.Call) and name_of(node.func) in ("strip", "str") and isinstance(node.func, ast.Attribute):
        return _subscript(node.func.value)
    return None


def _template(node: ast.AST, follower: Follower, names: dict[str, str]) -> list[Piece] | None:
    """The pieces of an f-string or of `text.format(…)`; None for anything else, or where no column stands in it."""
    if isinstance(node, ast.JoinedStr):
        pieces = [_piece(one, follower, names) for one in node.values]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        pieces = _filled(node, follower, names)
    else:
        return None
    whole = [one for one in pieces if one is not None]
    return whole if len(whole) == len(pieces) and any(one.column for one in whole) else None


def _piece(node: ast.expr, follower: Follower, names: dict[str, str]) -> Piece | None:
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    column = _subscript(inner) or (names.get(inner.id) if isinstance(inner, ast.Name) else None)
    if column:
        return Piece("", column)
    if _is_end(inner):
        return Piece("", "")
    found = follower.value(inner)
    return Piece(found, "") if isinstance(found, str) else None


def _is_end(node: ast.expr) -> bool:
    """The end-of-sequence token, which ends each row here by itself."""
    return "eos_token" in text(node).lower()


def _filled(node: ast.Call, follower: Follower, names: dict[str, str]) -> list[Piece | None]:
    assert isinstance(node.func, ast.Attribute)
    frame = follower.value(node.func.value)
    if not isinstance(frame, str):
        return [None]
    values: dict[str, ast.expr] = {str(place): one for place, one in enumerate(node.args)}
    values |= {one.arg: one.value for one in node.keywords if one.arg}
    pieces: list[Piece | None] = []
    for place, part in enumerate(_parts(frame)):
        name = str(place // 2) if part == "" and place % 2 else part
        pieces.append(_piece(values[name], follower, names) if place % 2 and name in values else Piece(part, ""))
    return pieces


def _parts(frame: str) -> list[str]:
    """Words and names of places in turn: `a {} b {x}` -> `a `, ``, ` b `, `x`, ``."""
    parts, rest = [], frame
    while "{" in rest and "}" in rest.partition("{")[2]:
        words, _, rest = rest.partition("{")
        name, _, rest = rest.partition("}")
        parts += [words, name]
    return [*parts, rest]


def _named(templates: list[list[Piece]], node: ast.AST) -> Prompt | None:
    """One template with our names; two that are Alpaca's, with and without input, are `alpaca`."""
    made = [one for one in map(_with_our_names, templates) if one is not None]
    texts = {one[0] for one in made}
    columns = max((one[1] for one in made), key=len, default={})
    ours = next((name for name, pair in NAMED_TEMPLATES.items() if texts == set(pair)), None)
    if ours is not None:
        return Prompt(ours, columns, False, node)
    if len(texts) != 1:
        return None
    return Prompt(texts.pop(), columns, False, node)


def _with_our_names(pieces: list[Piece]) -> tuple[str, dict[str, str]] | None:
    order = list(dict.fromkeys(one.column for one in pieces if one.column))
    if not 2 <= len(order) <= 3:
        return None
    ours: tuple[str, ...] = _COLUMNS if len(order) == 3 else ("instruction", "output")
    if set(order) <= set(_COLUMNS):
        ours = tuple(order)
    names = dict(zip(order, ours, strict=True))
    written = "".join("{" + names[one.column] + "}" if one.column else one.words for one in pieces)
    return written, {ours: theirs for theirs, ours in names.items() if ours != theirs}
