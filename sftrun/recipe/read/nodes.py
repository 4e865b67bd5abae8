"""The tree of a recipe: nodes with their places, what a plain scalar means, and where a path stands.

No YAML library here: `source` builds these from text, `reading` merges them, everybody else asks `Source`.
"""

import re
from typing import NamedTuple

from sftrun.diagnostics import Diagnostic, Path, Span

Scalar = bool | int | float | str | None
# the file that the command line's overrides stand in
OPTION = "--set"

_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# what PyYAML and other YAML 1.1 readers take for a bool, and YAML 1.2 for a string
_TRUE_WORDS = {"yes", "Yes", "YES", "on", "On", "ON"}
_FALSE_WORDS = {"no", "No", "NO", "off", "Off", "OFF"}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
# read as different numbers, or as none, by different YAML readers
_ODD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|0[xob][0-9a-fA-F_]+|0[0-9]+|[1-9][0-9]*(_[0-9]+)+(\.[0-9]*)?)$")
_MAX_DIGITS = 18
BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class ScalarNode:
    """A word, number or text; `plain` if it was written without quotes."""

    __slots__ = ("plain", "span", "text", "value")

    def __init__(self, span: Span, value: Scalar, text: str = "", plain: bool = True) -> None:
        self.span = span
        self.value = value
        self.text = text
        self.plain = plain


class ListNode:
    """A sequence."""

    __slots__ = ("items", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.items: list[Node] = []


class MapNode:
    """A mapping; `keys` says where each key stands."""

    __slots__ = ("items", "keys", "span")

    def __init__(self, span: Span, items: dict[str, "Node"] | None = None, keys: dict[str, Span] | None = None) -> None:
        self.span = span
        self.items = {} if items is None else items
        self.keys = {} if keys is None else keys


Node = ScalarNode | ListNode | MapNode


class Source(NamedTuple):
    """The merged tree of a recipe, and the text of every file that it came from."""

    file: str
    texts: dict[str, str]
    root: MapNode | None = None

    def locate(self, path: Path, on_key: bool = False) -> Span:
        """Where `path` stands; the deepest key on the way to it that does, if it is not written."""
        node: Node | None = self.root
        if node is None:
            return Span(self.file, 1, 1, 1, 1)
        span, parent = self._start(), None
        for depth, key in enumerate(path):
            child = child_of(node, key) if node is not None else None
            if child is None:
                return parent or span
            parent = node.keys.get(str(key)) if isinstance(node, MapNode) else child.span
            last = depth == len(path) - 1
            span = (parent or child.span) if last and on_key else child.span
            node = child
        return span

    def place(self, found: Diagnostic) -> Span:
        """Where a diagnostic stands."""
        return found.span or self.locate(found.at, found.on_key)

    def _start(self) -> Span:
        assert self.root is not None
        at = self.root.span
        first = next(iter(self.root.keys.values()), None)
        return first if first is not None and first.file == at.file else Span(at.file, at.line, at.column, at.line, 1)

    def find(self, path: Path) -> Node | None:
        """The node at `path`, or None where nothing is written."""
        node: Node | None = self.root
        for key in path:
            node = child_of(node, key) if node is not None else None
        return node

    def lines(self, file: str) -> list[str]:
        """The lines of a file, as the spans count them."""
        return BREAK.split(self.texts.get(file, ""))


def child_of(node: Node, key: str | int) -> Node | None:
    """The node below `node` at `key`, if there is one."""
    if isinstance(node, MapNode):
        return node.items.get(str(key))
    if isinstance(node, ListNode) and isinstance(key, int):
        return node.items[key] if 0 <= key < len(node.items) else None
    return None


def resolve(text: str) -> Scalar:
    """The value of a plain scalar: null, bool, int, float, or the text itself."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.match(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    if _INFINITE.match(text):
        return float(text.replace(".", "").lower())
    return text


def is_bool_word(text: str) -> bool:
    """Whether YAML 1.1 reads the word as a bool and YAML 1.2 does not."""
    return text in _TRUE_WORDS or text in _FALSE_WORDS


def is_true_word(text: str) -> bool:
    """Whether a bool word means true."""
    return text in _TRUE_WORDS


def is_odd_number(text: str) -> bool:
    """Whether YAML readers disagree about the number, or lose digits of it."""
    return bool(_ODD_NUMBER.match(text) or (_INT.match(text) and len(text) > _MAX_DIGITS))
