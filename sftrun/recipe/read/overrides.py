"""`--set a.b=yaml`: values from the command line, put into the tree; their places are those of the option's text."""

import re
from collections.abc import Iterable

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.recipe.known import EXCLUSIVE
from sftrun.recipe.read.merging import expand_sources, merge, too_large
from sftrun.recipe.read.nodes import OPTION, ListNode, MapNode, Node, ScalarNode, child_of
from sftrun.recipe.read.source import MAX_BYTES, parse

_OVERRIDE = re.compile(r'((?:"[^"]*"|[^"=\s])+)=(.*)', re.DOTALL)
_KEY = re.compile(r'"([^"]*)"|([^."]+)')


class Overridden:
    """The tree with every override in its place, and what was wrong with them."""

    def __init__(self, root: MapNode) -> None:
        self.root = root
        self.found: list[Diagnostic] = []
        self.broken: set[Path] = set()


def override(root: MapNode, options: Iterable[str]) -> Overridden:
    """Put each option in its place; the n-th option is the n-th line of the file `--set`."""
    done, line, chosen = Overridden(root), 1, list(options)
    for option in chosen:
        _set(done, option, line, tuple(chosen))
        line += option.count("\n") + 1
    return done


def _set(done: Overridden, option: str, line: int, options: tuple[str, ...]) -> None:
    whole = Span(OPTION, line, 1, line, len(option.split("\n")[0]) + 1)
    match = _OVERRIDE.fullmatch(option)
    keys = [quoted or plain for quoted, plain in _KEY.findall(match[1])] if match else []
    if match is None or not keys:
        message = f"`{option}` is not an override"
        done.found.append(Diagnostic("R110", message, span=whole, help="write --set trainer.max_steps=60"))
        return
    if keys[0] == "extends":
        message = "`extends` belongs to a file and can't be set from outside"
        done.found.append(Diagnostic("R110", message, span=whole, help="write it into the recipe"))
        return
    if len(match[2]) > MAX_BYTES:
        done.found.append(too_large(OPTION))
        return
    parsed, node = parse(match[2], OPTION, any_node=True)
    shift = match.start(2)
    done.found += [_moved(one, line, shift, tuple(keys)) for one in parsed.diagnostics]
    if node is None:
        if not parsed.diagnostics:
            node = ScalarNode(Span(OPTION, 1, 1, 1, 1), None)
        else:
            done.broken.add(tuple(keys))
            return
    _take_out_others(done.root, keys, node, options)
    done.broken |= {(*keys, *path) for path in parsed.broken}
    _move_all(node, line, shift)
    _place(done, keys, node, Span(OPTION, line, 1, line, match.end(1) + 1), whole)


def _take_out_others(root: MapNode, keys: list[str], node: Node, options: tuple[str, ...]) -> None:
    """Of two keys that say the same, the one that is set takes the other's place, unless that one is set too."""
    if isinstance(node, ScalarNode) and node.value in (None, False):
        return
    others = {one: other for pair in EXCLUSIVE for one, other in (pair, pair[::-1])}
    other = others.get(".".join(keys))
    if other is None or any(option.partition("=")[0] in (other, f"{other}.path") for option in options):
        return
    *above, last = other.split(".")
    section = _find(root, tuple(above))
    if isinstance(section, MapNode):
        section.items.pop(last, None)
        section.keys.pop(last, None)


def _place(done: Overridden, keys: list[str], node: Node, key: Span, whole: Span) -> None:
    root = done.root
    expand_sources(root)
    nested: Node = node
    for name in reversed(keys):
        nested = MapNode(whole, {name: nested}, {name: key})
    for depth in range(1, len(keys)):
        there = _find(root, tuple(keys[:depth]))
        if isinstance(there, ListNode):
            message = f"`{'.'.join(keys[:depth])}` is a list, and only a whole list can be set"
            done.found.append(Diagnostic("R110", message, span=key, help=f"--set {'.'.join(keys[:depth])}=[…]"))
            return
    merged = merge(root, nested)
    assert isinstance(merged, MapNode)
    # the file's own place stays the recipe's
    done.root = MapNode(root.span, merged.items, merged.keys)


def _find(node: Node, path: Path) -> Node | None:
    there: Node | None = node
    for key in path:
        there = child_of(there, key) if there is not None else None
    return there


def _moved_span(span: Span, line: int, column: int) -> Span:
    return Span(
        span.file,
        span.line + line - 1,
        span.column + (column if span.line == 1 else 0),
        span.end_line + line - 1,
        span.end_column + (column if span.end_line == 1 else 0),
    )


def _moved(found: Diagnostic, line: int, column: int, keys: Path) -> Diagnostic:
    span = _moved_span(found.span, line, column) if found.span else None
    return found._replace(at=(*keys, *found.at), span=span, fix=None)


def _move_all(node: Node, line: int, column: int) -> None:
    node.span = _moved_span(node.span, line, column)
    if isinstance(node, MapNode):
        node.keys = {key: _moved_span(span, line, column) for key, span in node.keys.items()}
        for child in node.items.values():
            _move_all(child, line, column)
    elif isinstance(node, ListNode):
        for child in node.items:
            _move_all(child, line, column)
