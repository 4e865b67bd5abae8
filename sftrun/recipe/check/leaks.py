"""S101: what looks like a key or token, anywhere in the text of a recipe and its bases, comments too."""

from bisect import bisect_right

from sftrun.diagnostics import Diagnostic, Path, Span
from sftrun.key_forms import find
from sftrun.recipe.read.nodes import BREAK, ListNode, MapNode, Node, Source


def find_all(source: Source) -> list[Diagnostic]:
    """One diagnostic for each key or token; none of them says it in full."""
    return [found for file, text in source.texts.items() for found in _in_text(file, text, source)]


def _in_text(file: str, text: str, source: Source) -> list[Diagnostic]:
    out, starts = [], None
    for start, end, whose in find(text):
        starts = starts or [0, *(match.end() for match in BREAK.finditer(text))]
        line = bisect_right(starts, start)
        column = start - starts[line - 1] + 1
        span = Span(file, line, column, line, column + end - start)
        out.append(
            Diagnostic(
                "S101",
                f"`{text[start : start + 4]}…` looks like a key of {whose}"
                if whose[:2] != "a "
                else f"this is {whose}",
                at=_path_of(source.root, span) if source.root is not None else (),
                span=span,
                help="take it out and revoke it; name a Modal Secret in `secrets` instead",
            )
        )
    return out


def _path_of(node: Node, span: Span) -> Path:
    """The deepest path whose value holds the place."""
    children: list[tuple[str | int, Node]] = []
    if isinstance(node, MapNode):
        children = list(node.items.items())
    elif isinstance(node, ListNode):
        children = list(enumerate(node.items))
    for key, child in children:
        if child.span.file == span.file and _holds(child.span, span):
            return (key, *_path_of(child, span))
    return ()


def _holds(outer: Span, inner: Span) -> bool:
    start = (outer.line, outer.column) <= (inner.line, inner.column)
    return start and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)
