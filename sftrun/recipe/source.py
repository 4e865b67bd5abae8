"""Text -> tree + spans.  The only file that knows ruamel.

The tree is built from parser events and not by a constructor: every node keeps its place, YAML's traps are seen before
they turn into values, nothing is ever constructed from a tag, and depth, size and aliases are bounded before they cost
anything.  Scalars follow YAML 1.2's core schema, except that `2e-4` is the number that its author meant.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from sftrun.diagnostics import Diagnostic, Fix, Path, Span

Scalar = bool | int | float | str | None

MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 32

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


@dataclass(slots=True)
class ScalarNode:
    """A word, number or text; `plain` if it was written without quotes."""

    span: Span
    value: Scalar
    text: str = ""
    plain: bool = True


@dataclass(slots=True)
class ListNode:
    """A sequence."""

    span: Span
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class MapNode:
    """A mapping; `keys` says where each key stands."""

    span: Span
    items: dict[str, "Node"] = field(default_factory=dict)
    keys: dict[str, Span] = field(default_factory=dict)


Node = ScalarNode | ListNode | MapNode


@dataclass(frozen=True)
class Parsed:
    """What one text holds: its tree, what is wrong with it as YAML, and the paths whose values can't be trusted."""

    root: MapNode | None
    diagnostics: tuple[Diagnostic, ...] = ()
    broken: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class Source:
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


def parse(text: str, file: str, *, any_node: bool = False) -> tuple[Parsed, Node | None]:
    """The tree of one document.  `any_node` takes a value of any kind (for `--set`), else a mapping is asked for."""
    building = _Building(text, file)
    root = building.run()
    found = tuple(building.found)
    if any_node or (found and root is None):
        return Parsed(None, found, frozenset(building.broken)), root
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        return Parsed(None, (*found, _whole(file, "Y111", "the file is empty", "start with `version: 1`"))), None
    if not isinstance(root, MapNode):
        what = "a list" if isinstance(root, ListNode) else f"the text {_short(root.text)}"
        message = f"a recipe is a mapping of keys to values, but this file holds {what}"
        place = _first_line(root.span)
        return Parsed(None, (*found, Diagnostic("Y112", message, span=place, help="write `key: value` lines"))), root
    return Parsed(root, found, frozenset(building.broken)), root


class _TooDeep(Exception):
    def __init__(self, mark: Any) -> None:
        self.mark = mark


class _BoundedScanner(Scanner):
    """ruamel's scanner with a bound on flow nesting: its look-ahead is quadratic in it."""

    def fetch_flow_collection_start(self, *args: Any, **kwargs: Any) -> None:
        if self.flow_level >= MAX_DEPTH:
            raise _TooDeep(self.reader.get_mark())
        super().fetch_flow_collection_start(*args, **kwargs)


class _Building:
    """One pass over the events of a text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.found: list[Diagnostic] = []
        self.broken: set[Path] = set()
        self.nodes = 0
        self.lines: list[str] | None = None

    def run(self) -> Node | None:
        try:
            events = self._events()
            first = next(events, None)
            root = self._node(first, events, ()) if first is not None else None
            self._second_document(events)
        except _TooDeep as error:
            self._too_deep(self._at(error.mark))
            return None
        except RecursionError:  # pragma: no cover - the depth is bounded above
            self._too_deep(Span(self.file, 1, 1, 1, 1))
            return None
        except ReaderError as error:
            self._character(error)
            return None
        except MarkedYAMLError as error:
            self._syntax(error)
            return None
        except (YAMLError, ValueError, IndexError, AttributeError, TypeError, AssertionError) as error:
            # ruamel answers some broken input with Python's own errors
            self._say("Y101", f"this is not YAML: {_first(str(error))}", Span(self.file, 1, 1, 1, 1))
            return None
        return root

    def _too_deep(self, span: Span) -> None:
        if self.nodes > MAX_NODES:
            self._say("Y110", f"more than {MAX_NODES:,} values", span, help="keep data in files of its own")
        else:
            self._say("Y110", f"nested deeper than {MAX_DEPTH} levels", span, help="no key of a recipe nests this deep")

    def _events(self) -> Iterator[Any]:
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _BoundedScanner
        for event in yaml.parse(self.text):
            if type(event).__name__ not in _QUIET:
                yield event

    def _second_document(self, events: Iterator[Any]) -> None:
        for event in events:
            if type(event).__name__ == "DocumentStartEvent":
                self._say(
                    "Y107",
                    "a second document starts here, and a recipe is one document",
                    self._span(event),
                    help="move what follows to a file of its own",
                )
                return

    def _node(self, event: Any, events: Iterator[Any], path: Path) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise _TooDeep(event.start_mark)
        if type(event).__name__ == "DocumentStartEvent":
            return self._node(next(events), events, path)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if event.anchor is not None:
            self._anchor(event, path)
        if event.tag is not None and not (isinstance(event, ScalarEvent) and str(event.tag) == "!"):
            self._tag(event, path)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, SequenceStartEvent):
            return self._list(event, events, path)
        assert isinstance(event, MappingStartEvent)
        return self._map(event, events, path)

    def _list(self, event: Any, events: Iterator[Any], path: Path) -> ListNode:
        node = ListNode(self._span(event))
        for child in events:
            if type(child).__name__ == "SequenceEndEvent":
                node.span = self._join(event, child)
                break
            node.items.append(self._node(child, events, (*path, len(node.items))))
        return node

    def _map(self, event: Any, events: Iterator[Any], path: Path) -> MapNode:
        node = MapNode(self._span(event))
        for child in events:
            if type(child).__name__ == "MappingEndEvent":
                node.span = self._join(event, child)
                break
            key = self._key(child, events, path)
            value = self._node(next(events), events, (*path, key or "?"))
            if key is None:
                continue
            if key in node.items:
                self._duplicate(key, self._span(child), (*path, key))
                continue
            node.items[key] = value
            node.keys[key] = self._span(child)
        return node

    def _key(self, event: Any, events: Iterator[Any], path: Path) -> str | None:
        if not isinstance(event, ScalarEvent):
            what = "an alias" if isinstance(event, AliasEvent) else "a list or mapping"
            self._say("Y113", f"a key must be a word, not {what}", self._span(event), help="write a plain word")
            if not isinstance(event, AliasEvent):
                self._node(event, events, path)
            self.broken.add(path)
            return None
        text, plain = str(event.value), _is_plain(event)
        if text == "<<" and plain:
            self._say(
                "Y106",
                "the merge key `<<` is not part of a recipe",
                self._span(event),
                at=path,
                help="write the keys out, or keep them in a file of their own and name it in `extends`",
            )
            self.broken.add(path)
            return None
        if event.anchor is not None:
            self._anchor(event, path)
        if plain and (text in _NULLS or not isinstance(resolve(text), str) or is_bool_word(text)):
            self._say(
                "Y113",
                f"a key must be a word, but YAML readers take `{text}` for another kind of value",
                self._span(event),
                at=path,
                help=f'quote it: "{text}"',
                fix=Fix(self._span(event), f'"{text}"') if text else None,
            )
            self.broken.add((*path, text))
        return text

    def _scalar(self, event: Any, path: Path) -> ScalarNode:
        span, text = self._span(event), str(event.value)
        if not _is_plain(event):
            return ScalarNode(span, text, text, plain=False)
        if is_bool_word(text):
            # what to write instead depends on what the key wants: `problems` completes this one
            self._say("Y104", f"`{text}` is a bool to some YAML readers and a word to others", span, at=path)
            self.broken.add(path)
            return ScalarNode(span, text, text)
        if _ODD_NUMBER.match(text) or (_INT.match(text) and len(text) > _MAX_DIGITS):
            self._say(
                "Y115",
                f"`{_short(text)}` is not the same number to every YAML reader",
                span,
                at=path,
                help="write a plain decimal number, or quote it if a text is meant",
            )
            self.broken.add(path)
            return ScalarNode(span, text, text)
        return ScalarNode(span, resolve(text), text)

    def _alias(self, event: Any, path: Path) -> ScalarNode:
        self._say(
            "Y105",
            f"the alias `*{event.anchor}` stands for a value written elsewhere, which a recipe does not use",
            self._span(event),
            at=path,
            help="write the value out",
        )
        self.broken.add(path)
        return ScalarNode(self._span(event), None)

    def _anchor(self, event: Any, path: Path) -> None:
        name = str(event.anchor)
        mark = event.start_mark
        span = Span(self.file, mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2 + len(name))
        self._say("Y105", f"the anchor `&{name}` is not part of a recipe", span, at=path, help=f"take `&{name}` out")

    def _tag(self, event: Any, path: Path) -> None:
        tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        mark = event.start_mark
        span = Span(self.file, mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2)
        self._say("Y114", f"the tag `{_short(tag)}` is not part of a recipe", span, at=path, help="take it out")
        self.broken.add(path)

    def _duplicate(self, key: str, span: Span, path: Path) -> None:
        self._say(
            "Y102",
            f"the key `{_short(key)}` stands here a second time",
            span,
            at=path,
            help="keep one of the two",
            also=((path, "first here"),),
        )
        self.broken.add(path)

    def _syntax(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        if any(sign in str(error.problem) for sign in _UNCLOSED) and error.context_mark is not None:
            mark = error.context_mark  # where it was opened says more than where the reader gave up
        span = self._at(mark) if mark is not None else Span(self.file, 1, 1, 1, 1)
        problem = str(error.problem or error.context or "it can't be read")
        if "'\\t'" in problem:
            self._say("Y103", "a tab, where YAML takes spaces alone", span, help="replace the tab by spaces")
            return
        if "found undefined alias" in problem:  # pragma: no cover - only composers say so
            self._say("Y105", problem, span)
            return
        message, help = _plain_words(problem, str(error.context or ""))
        self._say("Y101", message, span, help=help)

    def _character(self, error: ReaderError) -> None:
        before = BREAK.split(self.text[: error.position])
        line, column = len(before), len(before[-1]) + 1
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[0])
        self._say(
            "Y117",
            f"the control character U+{code:04X} can't stand in YAML",
            Span(self.file, line, column, line, column + 1),
            help="delete it",
        )

    def _say(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        at: Path = (),
        help: str | None = None,
        also: tuple[tuple[Path, str], ...] = (),
        fix: Fix | None = None,
    ) -> None:
        self.found.append(Diagnostic(code, message, at=at, span=span, help=help, also=also, fix=fix))

    def _at(self, mark: Any) -> Span:
        if self.lines is None:
            self.lines = BREAK.split(self.text)
        # the end of the text is shown behind the last line that holds something
        line, column = mark.line, mark.column
        while line > 0 and (line >= len(self.lines) or not self.lines[line].strip()):
            line -= 1
            column = len(self.lines[line].rstrip()) if line < len(self.lines) else 0
        return Span(self.file, line + 1, column + 1, line + 1, column + 2)

    def _span(self, event: Any) -> Span:
        return self._join(event, event)

    def _join(self, first: Any, last: Any) -> Span:
        start, end = first.start_mark, last.end_mark
        return Span(self.file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


_QUIET = {"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"}


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


def _is_plain(event: Any) -> bool:
    return event.style is None or event.style == ""


def _whole(file: str, code: str, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, span=Span(file, 1, 1, 1, 1), help=help)


def _first_line(span: Span) -> Span:
    return Span(span.file, span.line, span.column, span.line, span.column + 1) if span.end_line > span.line else span


def _first(text: str) -> str:
    return (BREAK.split(text) or [""])[0][:100]


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _plain_words(problem: str, context: str) -> tuple[str, str | None]:
    for part, message, help in _SYNTAX:
        if part in problem or part in context:
            return message, help
    return f"this is not YAML: {_first(problem)}", None


_UNCLOSED = ("expected ',' or ']'", "expected ',' or '}'", "found unexpected end of stream")
# ruamel's words -> ours, the first that occurs
_SYNTAX = (
    ("mapping values are not allowed", "a second `:` in one value", "quote the value, or start a new line"),
    (
        "expected <block end>",
        "this line fits no level of indentation above it",
        "line it up with the keys of its section",
    ),
    ("expected ',' or ']'", "this list is never closed", "add `]`"),
    ("expected ',' or '}'", "this mapping is never closed", "add `}`"),
    ("could not find expected ':'", "a key without `:` behind it", "write `key: value`"),
    ("while scanning a quoted scalar", "this quote is never closed", "close the quote"),
    ("found unexpected end of stream", "this quote is never closed", "close the quote"),
    ("expected the node content", "a value is missing here", "write the value, or close the bracket"),
    ("cannot start any token", "a value can't start with this character", "quote the value"),
    ("unknown escape character", "no such escape in a double-quoted text", "use single quotes, or double the `\\`"),
)
