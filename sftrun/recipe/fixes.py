"""Certain corrections, put into the text of a file and nothing else of it.

Each `Fix` replaces one span; everything around it (comments, quotes, order, line ends, a byte order mark) stays as it
is.
"""

from collections.abc import Iterable
from pathlib import Path

from sftrun.diagnostics import Fix, Span
from sftrun.disk import files
from sftrun.recipe.load import load
from sftrun.recipe.read.nodes import BREAK

_ROUNDS = 4


def mend(file: str, overrides: tuple[str, ...] = ()) -> int:
    """Correct a recipe on disk; returns how many places were corrected.

    A correction can bring another to light (a renamed section), so it goes round until nothing is left.
    """
    done = 0
    for _ in range(_ROUNDS):
        loaded = load(file, overrides)
        found = {one.fix for one in loaded.diagnostics if one.fix is not None and one.fix.span.file == file}
        if not found:
            break
        try:
            text = Path(file).read_bytes().decode("utf-8")
            mended, count = applied(text, found)
            files.write(Path(file), mended)
        except OSError as error:
            from sftrun.errors import SftrunError

            reason = (error.strerror or "it failed").lower()
            raise SftrunError(f"`{file}` can't be written: {reason}", help="check its permissions") from error
        done += count
    return done


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
