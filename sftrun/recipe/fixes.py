"""Certain corrections, put into the text of a file and nothing else of it.

Each `Fix` replaces one span; everything around it (comments, quotes, order, line ends, a byte order mark) stays as it
is.
"""

from collections.abc import Iterable

from sftrun.diagnostics import Fix, Span
from sftrun.recipe.read.nodes import BREAK


def applied(text: str, fixes: Iterable[Fix]) -> tuple[str, int]:
    """The text with each fix in its place, and how many there were; of two that overlap, the first wins."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix("\ufeff")
    starts = line_starts(text)
    places = sorted((offset(starts, fix.span), fix.replacement) for fix in fixes)
    out, at, count = [mark], 0, 0
    for (start, end), replacement in places:
        if start < at:
            continue
        out += [text[at:start], replacement]
        at, count = end, count + 1
    return "".join([*out, text[at:]]), count


def line_starts(text: str) -> list[int]:
    """Offset of each line's first character."""
    return [0, *(match.end() for match in BREAK.finditer(text))]


def offset(starts: list[int], span: Span) -> tuple[int, int]:
    """Start and end of a span as offsets into the text."""
    return starts[span.line - 1] + span.column - 1, starts[span.end_line - 1] + span.end_column - 1
