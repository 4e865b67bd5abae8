"""A draft as the text of a recipe, with a comment for whatever it leaves out."""

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign.draft import Draft, Left
from sftrun.recipe.models import Dataset, Lora, Model, Quantization, Trainer
from sftrun.recipe.read.nodes import is_bool_word, is_odd_number, resolve

SECTIONS = (
    *("model", "quantization", "lora", "dataset", "trainer", "compute", "volumes", "output", "samples"),
    *("budget", "secrets", "tags"),
)
_WIDTH = 110
_FLOWING = ("trainer.extra", "compute.image.env", "compute.image")
EMPTY = "empty"
_FIELDS = {
    "model": tuple(Model.model_fields),
    "quantization": tuple(Quantization.model_fields),
    "lora": tuple(Lora.model_fields),
    "dataset": tuple(Dataset.model_fields),
    "trainer": tuple(Trainer.model_fields),
}


def text_of(draft: Draft, file: str, line: Callable[[Path], int]) -> str:
    """The recipe, as it is written to a file.  `line` says where a key of the other tool's file stands."""
    return "".join(_lines(draft, file, line))


def _lines(draft: Draft, file: str, line: Callable[[Path], int]) -> Iterator[str]:
    table = draft.table
    yield f"# Imported from {file.rpartition('/')[2]}, {table.is_a or f'a file of {table.tool}'}.\n"
    yield f"version: 1\nname: {scalar(draft.values['name'])}\n"
    tree = _nested(draft.values)
    for section in SECTIONS:
        if section in tree:
            yield f"\n{section}:"
            yield from _below(tree[section], (section,), draft)
    yield from _remarks(draft)
    left = [one for one in draft.left if one.weight != "same"]
    yield from _group("Not carried over: the run will differ by it:", left, line)
    yield from _group("Left out, as the run is the same:", [one for one in draft.left if one.weight == "same"], line)


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in sorted(values.items(), key=lambda item: _rank(item[0])):
        *above, last = key.split(".", 2) if key.startswith("trainer.extra.") else key.split(".")
        level = tree
        for name in above:
            level = level.setdefault(name, {})
        level[last] = value
    return tree


def _rank(key: str) -> int:
    """The place of a key in its section, as the recipe's own page has them."""
    section, _, name = key.partition(".")
    fields = _FIELDS.get(section, ())
    return fields.index(name.partition(".")[0]) if fields else 0


def _below(value: Any, path: tuple[str, ...], draft: Draft) -> Iterator[str]:
    """What stands behind a key's colon."""
    indent = "  " * len(path)
    if isinstance(value, dict) and value and ".".join(path) not in _FLOWING and len(path) < 3:
        yield f"{_note(draft, '.'.join(path))}\n"
        for key, child in value.items():
            yield f"{indent}{scalar(key)}:"
            yield from _below(child, (*path, key), draft)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield f"{_note(draft, '.'.join(path))}\n"
        for one in value:
            yield f"{indent}- {flow(one)}\n"
    else:
        yield f" {flow(value)}{_note(draft, '.'.join(path))}\n"


def _note(draft: Draft, key: str) -> str:
    if key in draft.todo:
        return f"  # TODO {draft.todo[key]}"
    whose = draft.table.whose or draft.table.tool + "'s"
    return f"  # {whose} default" if key in draft.defaults else ""


def _remarks(draft: Draft) -> Iterator[str]:
    if draft.remarks:
        yield "\n"
        for remark in draft.remarks:
            yield from _comment(f"{remark}.", "# ", "# ")


def _group(title: str, left: Iterable[Left], line: Callable[[Path], int]) -> Iterator[str]:
    found = list(left)
    if found:
        yield f"\n# {title}\n"
    for one in found:
        if one.why != EMPTY:
            yield from _comment(f"{name(one)}: {flow(one.value)} (line {line(one.at)}: {one.why})", "#   ", "#     ")
    empty = [f"{name(one)} (line {line(one.at)})" for one in found if one.why == EMPTY]
    if empty:
        yield from _comment("empty there: " + ", ".join(empty), "#   ", "#     ")


def name(left: Left) -> str:
    """A key of the other tool's file, with those above it."""
    return ".".join(map(str, left.at))


def _comment(text: str, first: str, rest: str) -> Iterator[str]:
    wrapped = textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)
    return (f"{row}\n" for row in wrapped)


def flow(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A scalar as YAML writes it, quoted where it must be."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./+@ -]*", text) and not text.endswith(" ") and " #" not in text
    if plain and isinstance(resolve(text), str) and not is_bool_word(text) and not is_odd_number(text):
        return text
    return json.dumps(text, ensure_ascii=False)
