"""Text -> tree + spans.  The only file that knows ruamel.

The tree is built from parser events and not by a constructor: every node keeps its place, YAML's traps are seen before
they turn into values, nothing is ever constructed from a tag, and depth, size and aliases are bounded before they cost
anything.  Scalars follow YAML 1.2's core schema, except that `2e-4` is the number that its author meant.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from sftrun.diagnostics import Diagnostic, Fix, Path, Span
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode, is_bool_word, is_odd_number, resolve
from sftrun.recipe.read.yaml_words import at, first_line, short, wrong_character, wrong_syntax

MAX_BYTES = 256 * 1024
MAX_NODES = 4_000
MAX_DEPTH = 32


class Parsed(NamedTuple):
    """What one text holds: its tree, what is wrong with it as YAML, and the paths whose values can't be trusted."""

    root: MapNode | None
    diagnostics: tuple[Diagnostic, ...] = ()
    broken: frozenset[Path] = frozenset()


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
        what = "a list" if isinstance(root, ListNode) else f"the text {short(root.text)}"
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

    def run(self) -> Node | None:
        try:
            events = self._events()
            first = next(events, None)
            root = self._node(first, events, ()) if first is not None else None
            self._second_document(events)
        except _TooDeep as error:
            self._too_deep(at(error.mark, self.text, self.file))
            return None
        except RecursionError:  # pragma: no cover - the depth is bounded above
            self._too_deep(Span(self.file, 1, 1, 1, 1))
            return None
        except ReaderError as error:
            self.found.append(wrong_character(error, self.text, self.file))
            return None
        except MarkedYAMLError as error:
            self.found.append(wrong_syntax(error, self.text, self.file))
            return None
        except (YAMLError, ValueError, IndexError, AttributeError, TypeError, AssertionError) as error:
            # ruamel answers some broken input with Python's own errors
            self._say("Y101", f"this is not YAML: {first_line(str(error))}", Span(self.file, 1, 1, 1, 1))
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
        if plain and (not isinstance(resolve(text), str) or is_bool_word(text)):
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
        if is_odd_number(text):
            self._say(
                "Y115",
                f"`{short(text)}` is not the same number to every YAML reader",
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
        self._say("Y114", f"the tag `{short(tag)}` is not part of a recipe", span, at=path, help="take it out")
        self.broken.add(path)

    def _duplicate(self, key: str, span: Span, path: Path) -> None:
        self._say(
            "Y102",
            f"the key `{short(key)}` stands here a second time",
            span,
            at=path,
            help="keep one of the two",
            also=((path, "first here"),),
        )
        self.broken.add(path)

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

    def _span(self, event: Any) -> Span:
        return self._join(event, event)

    def _join(self, first: Any, last: Any) -> Span:
        start, end = first.start_mark, last.end_mark
        return Span(self.file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


_QUIET = {"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"}


def _is_plain(event: Any) -> bool:
    return event.style is None or event.style == ""


def _whole(file: str, code: str, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, span=Span(file, 1, 1, 1, 1), help=help)


def _first_line(span: Span) -> Span:
    return Span(span.file, span.line, span.column, span.line, span.column + 1) if span.end_line > span.line else span
