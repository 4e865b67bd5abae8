"""Trees on top of each other: `extends` and `--set` merge mappings key by key, and everything else replaces."""

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.recipe.read.nodes import MapNode, Node, ScalarNode
from sftrun.recipe.read.source import MAX_BYTES

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
    """`train: file.jsonl` is short for `train: {path: file.jsonl}`; the synthetic key stands where the text does."""
    for section, name in _SOURCES:
        parent = root.items.get(str(section))
        short = parent.items.get(str(name)) if isinstance(parent, MapNode) else None
        if isinstance(parent, MapNode) and isinstance(short, ScalarNode) and isinstance(short.value, str):
            parent.items[str(name)] = MapNode(short.span, {"path": short}, {"path": short.span})


def too_large(file: str) -> Diagnostic:
    """What is said of a text above the limit, which is not read."""
    message = f"the file is larger than {MAX_BYTES // 1024} KiB, which no recipe needs"
    help = "keep data in files of its own and name them in `dataset`"
    return Diagnostic("Y109", message, span=Span(file, 1, 1, 1, 1), help=help)
