"""ruamel's words for broken YAML -> ours.  Errors and marks are ruamel's, seen here as Any."""

from typing import Any

from sftrun.diagnostics import Diagnostic, Span
from sftrun.recipe.read.nodes import BREAK


def wrong_syntax(error: Any, text: str, file: str) -> Diagnostic:
    """What a MarkedYAMLError says, at the place that helps most."""
    mark = error.problem_mark or error.context_mark
    if any(sign in str(error.problem) for sign in UNCLOSED) and error.context_mark is not None:
        mark = error.context_mark  # where it was opened says more than where the reader gave up
    span = at(mark, text, file) if mark is not None else Span(file, 1, 1, 1, 1)
    problem = str(error.problem or error.context or "it can't be read")
    if "'\\t'" in problem:
        message = "a tab, where YAML takes spaces alone"
        return Diagnostic("Y103", message, span=span, help="replace the tab by spaces")
    message, help = plain_words(problem, str(error.context or ""))
    return Diagnostic("Y101", message, span=span, help=help)


def wrong_character(error: Any, text: str, file: str) -> Diagnostic:
    """What a ReaderError says: a character that YAML has no place for."""
    before = BREAK.split(text[: error.position])
    line, column = len(before), len(before[-1]) + 1
    code = error.character if isinstance(error.character, int) else ord(str(error.character)[0])
    message = f"the control character U+{code:04X} can't stand in YAML"
    return Diagnostic("Y117", message, span=Span(file, line, column, line, column + 1), help="delete it")


def at(mark: Any, text: str, file: str) -> Span:
    """Where a mark stands; the end of the text is shown behind the last line that holds something."""
    lines, line, column = BREAK.split(text), mark.line, mark.column
    while line > 0 and (line >= len(lines) or not lines[line].strip()):
        line -= 1
        column = len(lines[line].rstrip()) if line < len(lines) else 0
    return Span(file, line + 1, column + 1, line + 1, column + 2)


UNCLOSED = ("expected ',' or ']'", "expected ',' or '}'", "found unexpected end of stream")
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


def short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def first_line(text: str) -> str:
    return (BREAK.split(text) or [""])[0][:100]


def plain_words(problem: str, context: str) -> tuple[str, str | None]:
    for part, message, help in _SYNTAX:
        if part in problem or part in context:
            return message, help
    return f"this is not YAML: {first_line(problem)}", None
