"""Trees on top of each other: `extends` and `--set` merge mappings key by key, and everything else replaces."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode
from sftrun.recipe.read.source import MAX_BYTES
from sftrun.recipe.sources import is_one

_SOURCES: tuple[Path, ...] = (
    ("dataset", "train"),
    ("dataset", "eval"),
    ("evaluation", "data"),
    ("evaluation", "general"),
)


def merge(base: Node, over: Node) -> Node:
    """`over` on top of `base`: mappings key by key, everything else replaces."""
    if not (isinstance(base, MapNode) and isinstance(over, MapNode)):
        return over
    items, keys = dict(base.items), dict(base.keys)
    for key, child in over.items.items():
        items[key] = merge(items[key], child) if key in items else child
        keys[key] = over.keys[key]
    return MapNode(over.span, items, keys)


def expand_sources(root: MapNode) -> None:
    """`train: file.jsonl` is short for `train: {path: file.jsonl}`; the synthetic key stands where the text does.

    So it is in a list of sources, and for each of the names that `eval` may have.
    """
    for section, name in _SOURCES:
        parent = root.items.get(str(section))
        found = parent.items.get(str(name)) if isinstance(parent, MapNode) else None
        if isinstance(parent, MapNode) and found is not None:
            parent.items[str(name)] = _expanded(found)
        if isinstance(found, ListNode):
            found.items = [_expanded(item) for item in found.items]
        elif isinstance(found, MapNode) and not is_one(found.items):
            found.items = {key: _expanded(item) for key, item in found.items.items()}


def source_paths(root: MapNode) -> Iterator[Path]:
    """Where each source's path may stand in a tree."""
    for section, name in _SOURCES:
        parent = root.items.get(str(section))
        found = parent.items.get(str(name)) if isinstance(parent, MapNode) else None
        yield (section, name, "path")
        if isinstance(found, ListNode):
            yield from ((section, name, number, "path") for number in range(len(found.items)))
        elif isinstance(found, MapNode):
            yield from ((section, name, key, "path") for key in found.items)


def _expanded(found: Node) -> Node:
    if not isinstance(found, ScalarNode) or not isinstance(found.value, str):
        return found
    return MapNode(found.span, {"path": found}, {"path": found.span})


def too_large(file: str) -> Diagnostic:
    """What is said of a text above the limit, which is not read."""
    message = f"the file is larger than {MAX_BYTES // 1024} KiB, which no recipe needs"
    help = "keep data in files of its own and name them in `dataset`"
    return Diagnostic("Y109", message, span=Span(file, 1, 1, 1, 1), help=help)
