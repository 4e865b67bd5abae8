"""A diagnostic's help, done: the edit of the text that its first words ask for, and nothing else of it.

`write`, `add`, `did you mean`, `begin the file with` and `take it out` say exactly what to type.  What can't be done
that exactly (a value of several lines that would move, advice without a thing to write) has no edit.
"""

import re
from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import Final

from sftrun.diagnostics import Diagnostic, Fix, Path, Span
from sftrun.disk import files
from sftrun.recipe.fixes import applied
from sftrun.recipe.load import Loaded, load
from sftrun.recipe.models import Recipe
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode, Source
from sftrun.recipe.words import kinds

_ROUNDS: Final = 40
_HIDES: Final = {"R101"}  # whatever else is wrong is seen once it is mended
_BEGIN: Final = re.compile(r"(?:begin the file|start) with `([^`]+)`")
_WRITE: Final = re.compile(r"(?:write|add|did you mean|or write) `([^`]+)`")
_AND: Final = re.compile(r"\band (?:write |add )?`([^`]+: [^`]+)`")
_TAKE: Final = re.compile(r"^(?:take|leave) (?:it|one) out|^remove it|^keep one of|: leave it out$")
_MOVE: Final = re.compile(r"write `([\w.]+)` in `([\w.]+)`|it belongs in `[\w.]+`: `([\w.]+)`|write it as `([\w.]+)`")
_NO_KEY: Final = {"R103", "R104"}
_PAIR: Final = re.compile(r"([A-Za-z_][\w.]*): +(.+)")
_TOP: Final = set(Recipe.model_fields)


def mend(file: str, overrides: tuple[str, ...] = ()) -> int:
    """Correct a recipe on disk; returns how many places were corrected."""
    try:
        text = FilePath(file).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return 0  # its diagnostic says so
    mended, done = corrected(file, text, overrides)
    if done:
        try:
            files.write(FilePath(file), mended)
        except OSError as error:
            from sftrun.errors import SftrunError

            reason = (error.strerror or "it failed").lower()
            raise SftrunError(f"`{file}` can't be written: {reason}", help="check its permissions") from error
    return done


def corrected(file: str, text: str, overrides: tuple[str, ...] = ()) -> tuple[str, int]:
    """The text with all that is certain corrected, and how many places that were.

    A correction can bring another to light (a renamed section), so it goes round until nothing is left.
    """
    done = 0
    for _ in range(_ROUNDS):
        loaded = load(file, overrides, text=text)
        found = {one.fix for one in loaded.diagnostics if one.fix is not None and one.fix.span.file == file}
        if found:
            text, count = applied(text, found)
            done += count
            continue
        better = _as_advised(loaded, text, overrides)
        if better is None:
            break
        text, done = better, done + 1
    return text, done


def _as_advised(loaded: Loaded, text: str, overrides: tuple[str, ...]) -> str | None:
    """One error mended as its help says, where that leaves no choice and brings no other."""
    errors = [one for one in loaded.diagnostics if one.severity == "error"]
    for one in certain(errors):
        made = edited(text, one, loaded.source) if loaded.source.place(one).file == loaded.file else None
        if made is not None and made != text:
            left = [other for other in load(loaded.file, overrides, text=made).diagnostics if other.severity == "error"]
            if one.code in _HIDES or len(left) < len(errors):
                return made
    return None


def edited(text: str, found: Diagnostic, source: Source) -> str | None:
    """The text with the help done; None where that can't be done."""
    edits = _fixes(found, source, _Text(text))
    return applied(text, edits)[0] if edits else None


def _fixes(found: Diagnostic, source: Source, text: "_Text") -> list[Fix]:
    help, edit = found.help or "", _Editing(source, text)
    if found.fix is not None:
        return [found.fix]
    if match := _BEGIN.search(help):
        return [Fix(Span(source.file, 1, 1, 1, 1), f"{match[1]}\n")]
    if match := _MOVE.match(help):
        place = f"{match[2]}.{match[1]}" if match[1] else match[3] or match[4]
        return edit.moved(found.at, tuple(place.split(".")))
    if match := _WRITE.match(help):
        return edit.written(found, match[1], help)
    if found.code == "Y102" and found.span is not None:
        return edit.line_out(found.span)
    if found.code == "Y103" and found.span is not None:
        return edit.untabbed(found.span)
    return edit.without(found.at) if _TAKE.search(help) else []


class _Text:
    """The lines of a file."""

    def __init__(self, text: str) -> None:
        self.lines = text.removeprefix("\ufeff").split("\n")

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def of(self, span: Span) -> str | None:
        """What stands there, if it is one line."""
        return self.line(span.line)[span.column - 1 : span.end_column - 1] if span.line == span.end_line else None


class _Editing:
    """Edits of the text by places of its tree."""

    def __init__(self, source: Source, text: _Text) -> None:
        self.source = source
        self.text = text

    def written(self, found: Diagnostic, said: str, help: str) -> list[Fix]:
        """A value in the place of another, or a key with its value, and what else the help asks for."""
        pair, at = _PAIR.fullmatch(said), found.at
        if pair is None and found.on_key:
            return self.moved(at, (*at[:-1], *said.split(".")))
        path = at if pair is None else self.path_of(pair[1], at)
        edits = self._set(path, said if pair is None else pair[2])
        for other in _AND.findall(help):
            key, value = other.split(": ", 1)
            edits += self._set(self.path_of(key, at), value)
        replaced = self._replaced(found, path, help)
        return edits + (self.without(replaced) if edits and replaced else [])

    def _replaced(self, found: Diagnostic, path: Path, help: str) -> Path | None:
        """What goes when another key is written in its place."""
        if (gone := re.search(r" instead(?: of `(\w+)`)?", help)) is not None:
            old = (*path[:-1], gone[1]) if gone[1] else found.at
        else:
            old = found.at if found.code in _NO_KEY or _is_hint(found.at, path) else path
        return None if old == path else old

    def path_of(self, key: str, at: Path) -> Path:
        """Where a key of the help stands: beside what it speaks of, in it, or by its full name."""
        parts = tuple(key.split("."))
        if parts[0] in _TOP and (len(parts) > 1 or len(at) < 2):
            return parts
        for section in (at[:-1], at):
            if parts[0] in kinds.fields_of(kinds.section_at(section)):
                return (*section, *parts)
        places = kinds.everywhere().get(parts[0], ())
        return (*places[0].split("."), *parts) if places and places[0] else parts

    def moved(self, old: Path, new: Path) -> list[Fix]:
        """A key under another name, or in another section."""
        node, key = self.source.find(old), self._key(old)
        if node is None or key is None:
            return []
        if old[:-1] == new[:-1]:
            return [Fix(key, str(new[-1]))] if self.source.find(new) is None else []
        value = self.text.of(node.span)
        return [*self._set(new, value), *self.without(old)] if value is not None else []

    def without(self, path: Path) -> list[Fix]:
        """A key with its value, or an item of a list, taken out."""
        node, parent = self.source.find(path), self.source.find(path[:-1])
        if node is None or parent is None or node.span.file != self.source.file:
            return []
        start = self._key(path) or node.span
        span = Span(start.file, start.line, start.column, node.span.end_line, node.span.end_column)
        if self._is_block(parent, start):
            last = span.end_line if span.end_column > 1 else span.end_line - 1
            return [Fix(Span(span.file, span.line, 1, last + 1, 1), "")]
        line = self.text.line(span.end_line)
        if (after := re.match(r"\s*,\s*", line[span.end_column - 1 :])) is not None:
            return [Fix(span._replace(end_column=span.end_column + after.end()), "")]
        before = re.search(r",?\s*$", self.text.line(span.line)[: span.column - 1])
        return [Fix(span._replace(column=span.column - len(before[0]) if before else span.column), "")]

    def line_out(self, span: Span) -> list[Fix]:
        """The line of a key that is not in the tree, as it stands a second time; nothing where its value goes on."""
        line, below = self.text.line(span.line), self.text.line(span.line + 1)
        indent = len(line) - len(line.lstrip())
        is_whole = span.column == indent + 1 and len(below) - len(below.lstrip()) <= indent
        return [Fix(Span(span.file, span.line, 1, span.line + 1, 1), "")] if is_whole else []

    def untabbed(self, span: Span) -> list[Fix]:
        """A line that begins with tabs, with two spaces for each."""
        line = self.text.line(span.line)
        blank = line[: len(line) - len(line.lstrip())]
        return [Fix(Span(span.file, span.line, 1, span.line, len(blank) + 1), blank.replace("\t", "  "))]

    def _set(self, path: Path, value: str) -> list[Fix]:
        node = self.source.find(path)
        if node is not None:
            if node.span.file != self.source.file:
                return []
            # an empty value stands right behind its colon
            is_empty = isinstance(node, ScalarNode) and not node.text and node.value is None
            return [Fix(node.span, f" {value}" if is_empty else value)]
        return self._insert(path[:-1], str(path[-1]), value) if path else []

    def _insert(self, section: Path, key: str, value: str) -> list[Fix]:
        parent = self.source.find(section)
        if parent is None or (isinstance(parent, ScalarNode) and parent.value is None):
            return self._set(section, f"{{{key}: {value}}}") if section else []
        if not isinstance(parent, MapNode) or parent.span.file != self.source.file:
            return []
        first = next(iter(parent.keys.values()), None)
        if first is None or not self._is_block(parent, first):
            column = parent.span.column + 1
            at = Span(parent.span.file, parent.span.line, column, parent.span.line, column)
            return [Fix(at, f"{key}: {value}" + (", " if parent.items else ""))]
        if not section:
            return [self._at_the_end(first.file, f"{key}: {value}\n")]
        indent = self.text.line(first.line)[: first.column - 1]
        return [Fix(Span(first.file, first.line, 1, first.line, 1), f"{indent}{key}: {value}\n")]

    def _at_the_end(self, file: str, line: str) -> Fix:
        last = self.text.lines[-1]
        number, column = len(self.text.lines), len(last) + 1
        return Fix(Span(file, number, column, number, column), f"\n{line}" if last else line)

    def _is_block(self, parent: Node, start: Span) -> bool:
        line = self.text.line(start.line)[: start.column - 1]
        opens = self.text.line(parent.span.line)[parent.span.column - 1 : parent.span.column]
        return isinstance(parent, MapNode | ListNode) and opens not in ("{", "[") and line.strip() in ("", "-")

    def _key(self, path: Path) -> Span | None:
        parent = self.source.find(path[:-1])
        return parent.keys.get(str(path[-1])) if isinstance(parent, MapNode) else None


def _is_hint(at: Path, path: Path) -> bool:
    """Whether the help names another key for the very value it speaks of: `warmup_ratio: 0.05` for `warmup_steps`."""
    return {str(keys[-1]) for keys in (at, path) if keys} == {"warmup_steps", "warmup_ratio"}


def certain(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Errors whose help leaves no choice."""
    return [one for one in found if one.severity == "error" and (one.fix is not None or not _is_choice(one.help or ""))]


def _is_choice(help: str) -> bool:
    return ", or " in help or " or less" in help or help.startswith("keep one")
