"""Diagnostics as a compiler shows them: where, the line itself with the place underlined, and one thing to do.

Plain strings and ANSI, no rich: this runs on every `validate`, whose start is a feature.  What is shown of a file is
masked where it looks like a key or token, whatever the diagnostic is about.
"""

import os
import sys
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple, TextIO

from sftrun.diagnostics import Diagnostic, Span
from sftrun.recipe.read.nodes import Source
from sftrun.recipe.secrets import mask

WIDTH = 80
_COLOURS = {"error": "31;1", "warning": "33;1", "blue": "34;1", "bold": "1", "help": "36", "good": "32"}


def wants_colour(stream: TextIO) -> bool:
    """Whether a person with a colour terminal reads the stream (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render(diagnostics: Iterable[Diagnostic], source: Source, *, colour: bool | None = None, width: int = WIDTH) -> str:
    """All diagnostics as one text, a blank line between two.  `colour` None: as stderr wants it."""
    pen = Pen(wants_colour(sys.stderr) if colour is None else colour)
    return "\n\n".join(_one(found, source, pen, width) for found in diagnostics)


class Pen(NamedTuple):
    """Styles a text, or leaves it as it is."""

    colour: bool

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colour and text else text


class _Mark(NamedTuple):
    """A place to underline, with what to say there."""

    span: Span
    label: str
    first: bool


def _one(found: Diagnostic, source: Source, pen: Pen, width: int) -> str:
    span = source.place(found)
    marks = [_Mark(span, "", True)]
    marks += [_Mark(source.locate(path, True), label, False) for path, label in found.also]
    gutter = len(str(max(mark.span.line for mark in marks)))
    lines = _headline(found, pen, width)
    for index, group in enumerate(_by_file(marks)):
        lead = pen("blue", " " * gutter + ("-->" if index == 0 else ":::"))
        lines.append(f"{lead} {_place(group[0].span, source)}")
        lines += _excerpt(group, _texts(group, found, source), gutter, found.severity, pen, width)
    for label, text in [*(("note", note) for note in found.notes), ("help", found.help)]:
        if text:
            lines += _footer(label, mask(text), gutter, pen, width)
    return "\n".join(lines)


def _place(span: Span, source: Source) -> str:
    """The file, and where in it, unless it has no text at all."""
    is_nothing = source.texts.get(span.file) == "" and (span.line, span.column) == (span.end_line, span.end_column)
    return mask(span.file) if is_nothing else f"{mask(span.file)}:{span.line}:{span.column}"


def _headline(found: Diagnostic, pen: Pen, width: int) -> list[str]:
    title = f"{found.severity}[{found.code}]"
    wrapped = _wrap(f"{title}: {mask(found.message)}", width, "  ")
    first = wrapped[0].removeprefix(title)
    return [pen(found.severity, title) + pen("bold", first), *(pen("bold", line) for line in wrapped[1:])]


def _footer(label: str, text: str, gutter: int, pen: Pen, width: int) -> list[str]:
    indent = " " * (gutter + 1)
    lines = _wrap(f"{indent}= {label}: {text}", width, indent + " " * (len(label) + 4))
    head = f"{indent}= {label}:"
    return [indent + pen("blue", "=") + " " + pen("help", f"{label}:") + lines[0].removeprefix(head), *lines[1:]]


def _wrap(text: str, width: int, indent: str) -> list[str]:
    """Lines of at most `width` columns (textwrap counts letters); what is longer than a line is broken."""
    clean = "".join(_visible(letter) for letter in text)
    blank = len(clean) - len(clean.lstrip())
    lines, start = [clean[:blank]], True
    for word in clean.split():
        joined = lines[-1] + word if start else f"{lines[-1]} {word}"
        if columns(joined) > width and not start:
            lines.append(indent)
            joined = indent + word
        while columns(joined) > width:
            fits = next(n for n in range(len(joined), 0, -1) if columns(joined[:n]) <= width)
            lines[-1], joined = joined[:fits], indent + joined[fits:]
            lines.append(indent)
        lines[-1], start = joined, False
    return lines


def _by_file(marks: list[_Mark]) -> list[list[_Mark]]:
    groups: dict[str, list[_Mark]] = {}
    for mark in marks:
        groups.setdefault(mark.span.file, []).append(mark)
    return list(groups.values())


def _texts(marks: list[_Mark], found: Diagnostic, source: Source) -> dict[int, str]:
    """The lines that the marks of one file stand in, by number; nothing where the file's text is not known."""
    file = marks[0].span.file
    if file in source.texts:
        lines = source.lines(file)
        return {mark.span.line: lines[mark.span.line - 1] for mark in marks if mark.span.line <= len(lines)}
    return {} if found.excerpt is None else {marks[0].span.line: found.excerpt}


def _excerpt(marks: list[_Mark], lines: dict[int, str], gutter: int, severity: str, pen: Pen, width: int) -> list[str]:
    shown = sorted((mark for mark in marks if mark.span.line in lines), key=lambda mark: mark.span.line)
    if not any(lines[mark.span.line].strip() for mark in shown):
        return []
    bar = pen("blue", f"{' ' * gutter} |")
    out, last = [bar], None
    for number, below in _by_line(shown, lines, width - gutter - 3):
        if last is not None and number > last + 1:
            out.append(pen("blue", "..."))
        text, unders = _underlined(lines[number], below, severity, pen, width - gutter - 3)
        out.append(f"{pen('blue', f'{number:>{gutter}} |')} {text}".rstrip())
        out += [f"{bar} {under}" for under in unders]
        last = number
    return out


def _by_line(marks: list[_Mark], lines: dict[int, str], room: int) -> list[tuple[int, list[_Mark]]]:
    """Marks of one line together, unless the line is so long that they can't be seen at once."""
    groups: list[tuple[int, list[_Mark]]] = []
    for mark in marks:
        number = mark.span.line
        fits = columns(lines[number].rstrip()) <= room
        if groups and groups[-1][0] == number and fits:
            groups[-1][1].append(mark)
        else:
            groups.append((number, [mark]))
    return groups


def _underlined(line: str, marks: list[_Mark], severity: str, pen: Pen, room: int) -> tuple[str, list[str]]:
    """The line, cut to a window around the place if it is too long, and what goes below it."""
    line = "".join(_visible(letter) for letter in mask(line))
    unders = []
    for mark in marks:
        start = min(mark.span.column - 1, len(line))
        end = mark.span.end_column - 1 if mark.span.end_line == mark.span.line else len(line.rstrip())
        end = max(min(end, len(line)), start + 1)
        shown, start, end = _window(line, start, end, room)
        sign, style = ("^", severity) if mark.first else ("-", "blue")
        length = max(columns(shown[start:end]), 1)
        label = f" {pen(style, mark.label)}" if mark.label else ""
        unders.append(" " * columns(shown[:start]) + pen(style, sign * length) + label)
    return shown.rstrip(), unders


def _window(line: str, start: int, end: int, room: int) -> tuple[str, int, int]:
    if columns(line.rstrip()) <= room:
        return line, start, end
    left = 0
    while columns(line[left : min(end, start + room // 2)]) > room - 4 and left < start:
        left += 1
    left = max(0, min(left + (8 if left else 0), start))
    cut = line[left:]
    taken = 0
    while taken < len(cut) and columns(cut[: taken + 1]) <= room - 2 - (1 if left else 0):
        taken += 1
    more = "…" if taken < len(cut) else ""
    head = "…" if left else ""
    text = head + cut[:taken] + more
    shift = len(head) - left
    return text, start + shift, min(end + shift, len(text) - len(more))


def columns(text: str) -> int:
    """Columns that a terminal takes for the text: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(letter) for letter in text)


def _columns_of(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def _visible(letter: str) -> str:
    """Nothing that a file holds may move the cursor or turn the text around."""
    if letter == "\t":
        return " "
    kind = unicodedata.category(letter)
    hidden = kind in ("Cc", "Cs", "Zl", "Zp") or letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return "\ufffd" if hidden else letter
