"""Another tool's file as values with their places, and the table of what its keys are here."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.errors import SftrunError
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode, Source, is_bool_word, is_true_word
from sftrun.recipe.read.source import parse
from sftrun.strict import Strict

FOLDER = FilePath(__file__).with_name("tables")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*$")
# words and numbers that YAML readers disagree about: the other tool has its own reading of them
_ODD_ONLY = {"Y104", "Y115"}


class Table(Strict):
    """What is known of a tool: `telling` are keys that its files have, `defaults` what it does by itself.

    `must` stands in all of its files. `hands_on`: whether it has SFTConfig's own fields. `renamed`: its key -> ours.
    `same`: keys without which the run is the same. `differs`: keys without which it is another, unless they have the
    value in `off` or none. `refused`: keys of what is no supervised fine-tuning. `whose` and `is_a`: other words for
    its defaults and files. `names`: what a key is called on TRL's command line; a nested key has dots, a section ends
    with one.
    """

    tool: str
    version: str
    whose: str | None = None
    is_a: str | None = None
    source: str
    telling: tuple[str, ...]
    needed: tuple[str, ...] = ()
    must: str | None = None
    hands_on: bool = False
    names: dict[str, str] = {}
    renamed: dict[str, str] = {}
    same: dict[str, tuple[str, ...]] = {}
    differs: dict[str, str] = {}
    refused: dict[str, str] = {}
    off: dict[str, Any] = {}
    defaults: dict[str, Any] = {}


@cache
def table(name: str) -> Table:
    """The table of a tool, by the name of its file."""
    read = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    same = {why: tuple(keys.split()) for why, keys in read.pop("same", {}).items()}
    words = {key: tuple(read.get(key, "").split()) for key in ("telling", "needed")}
    return Table.model_validate(read | words | {"same": same})


@cache
def reasons(name: str) -> dict[str, str]:
    """Key -> why the run is the same without it."""
    return {key: why for why, keys in table(name).same.items() for key in keys}


class ForeignFile:
    """The file of another tool: plain values as its own reader has them, and where each stands."""

    def __init__(self, text: str, file: str) -> None:
        parsed, _ = parse(text.removeprefix("\ufeff"), file)
        self.source = Source(file, {file: text.removeprefix("\ufeff")}, parsed.root)
        if parsed.root is None:
            raise SftrunError(f"`{file}` can't be read as YAML", help=f"see `sftrun validate {file}`")
        self.faults: tuple[Diagnostic, ...] = tuple(one for one in parsed.diagnostics if one.code not in _ODD_ONLY)
        self.values: dict[str, Any] = plain(parsed.root)

    def keys(self) -> set[str]:
        """All keys, nested ones with dots."""
        return {key for key, _, _ in _leaves(self.source.root, "", {})}

    def flat(self, names: dict[str, str]) -> dict[str, Any]:
        """The values with nested keys laid open (`training.optimizer`), and under other names where `names` has one."""
        root = MapNode(self.source.root.span) if self.source.root is not None else None
        assert root is not None
        for key, node, span in _leaves(self.source.root, "", names):
            name = _name(key, names)
            root.items[name], root.keys[name] = node, span
        self.source = self.source._replace(root=root)
        self.values = plain(root)
        return self.values

    def line(self, path: Path) -> int:
        """The line of a key."""
        return self.source.locate(path, on_key=True).line


def _name(key: str, names: dict[str, str]) -> str:
    section = f"{key.partition('.')[0]}."
    return names.get(key) or (names[section] + key.removeprefix(section) if section in names else key)


def _leaves(node: Node | None, above: str, names: dict[str, str]) -> Iterator[tuple[str, Node, Span]]:
    if isinstance(node, MapNode):
        for key, child in node.items.items():
            dotted = f"{above}{key}"
            if isinstance(child, MapNode) and child.items and dotted not in names:
                yield from _leaves(child, f"{dotted}.", names)
            else:
                yield dotted, child, node.keys[key]


def plain(node: Node) -> Any:
    """The value as a YAML 1.1 reader has it: the other tools are such readers."""
    if isinstance(node, MapNode):
        return {key: plain(child) for key, child in node.items.items()}
    if isinstance(node, ListNode):
        return [plain(child) for child in node.items]
    assert isinstance(node, ScalarNode)
    if node.plain and isinstance(node.value, str):
        if is_bool_word(node.value):
            return is_true_word(node.value)
        if _UNDERSCORED.match(node.value):
            return int(node.value.replace("_", ""))
    return node.value
