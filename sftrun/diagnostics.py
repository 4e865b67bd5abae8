"""What a check says: a code, a place, the value, one thing to do.  No rendering here.

`at` is a path of keys into the recipe (`("trainer", "max_steps")`, list items by their index); `recipe.read.source`
turns it into a line and a column.  The table of all codes, with why and an example, is `recipe.words.codes`.
"""

from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]


class Span(NamedTuple):
    """A stretch of text; lines and columns count from 1, `end_column` is one past the last character."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class Fix(NamedTuple):
    """A certain correction: put `replacement` where `span` is."""

    span: Span
    replacement: str


class Diagnostic(NamedTuple):
    """One problem.

    `on_key` underlines the key instead of its value; `also` is a second place that disagrees, with what to say there;
    `span` wins over `at` where the problem is in the text itself (YAML) or in a data file; `excerpt` is then that line
    of the data file, as no Source holds it.
    """

    code: str
    message: str
    at: Path = ()
    severity: Severity = "error"
    help: str | None = None
    on_key: bool = False
    also: tuple[tuple[Path, str], ...] = ()
    span: Span | None = None
    fix: Fix | None = None
    notes: tuple[str, ...] = ()
    excerpt: str | None = None


def dotted(path: Path) -> str:
    """`trainer.max_steps`, as `--set` takes it; a key with a dot in it is quoted."""
    return ".".join(f'"{key}"' if "." in str(key) else str(key) for key in path)
