"""Diagnostics as text: places underlined, wide characters aligned, long lines windowed, control characters shown."""

import pytest

from sftrun.diagnostics import Diagnostic, Span
from sftrun.recipe.load import load
from sftrun.recipe.read.nodes import Source
from sftrun.report.show.carets import columns, render, wants_colour


def shown(line: str, column: int, end: int, message: str = "wrong", **more: object) -> str:
    source = Source("f.yaml", {"f.yaml": line})
    found = Diagnostic("R106", message, span=Span("f.yaml", 1, column, 1, end), **more)  # type: ignore[arg-type]
    return render([found], source, colour=False)


def test_the_place_is_underlined_and_the_help_stands_below() -> None:
    assert shown("seed: x", 7, 8, help="write a number") == (
        "error[R106]: wrong\n --> f.yaml:1:7\n  |\n1 | seed: x\n  |       ^\n  = help: write a number"
    )


def test_wide_characters_are_underlined_at_their_width() -> None:
    lines = shown("名前: 東京", 5, 7).splitlines()

    assert lines[3:5] == ["1 | 名前: 東京", "  |       ^^^^"]


def test_combining_characters_take_no_column() -> None:
    lines = shown("e\u0301: x", 5, 6).splitlines()

    assert lines[4] == "  |    ^"


def test_a_long_line_is_shown_through_a_window_around_the_place() -> None:
    lines = shown("a" * 300 + " HERE " + "b" * 300, 302, 306).splitlines()

    assert all(columns(line) <= 80 for line in lines)
    start = lines[4].index("^")
    assert lines[3][start : start + 4] == "HERE"


@pytest.mark.parametrize("at", [1, 40, 70, 100, 180, 200])
def test_the_window_holds_the_place_wherever_it_is(at: int) -> None:
    line = "x" * (at - 1) + "東" + "y" * (200 - at)
    lines = shown(line, at, at + 1).splitlines()

    before = columns(lines[3].partition("東")[0])
    assert lines[4] == "  |" + " " * (before - 3) + "^^"


def test_a_long_message_is_wrapped_to_eighty_columns() -> None:
    text = shown("a: 1", 4, 5, message="word " * 60, help="advice " * 40)

    assert all(columns(line) <= 80 for line in text.splitlines())


def test_nothing_that_a_file_holds_moves_the_cursor() -> None:
    text = shown("a: \x1b[31mred\u202etxet\x07", 4, 5, message="the value \x1b[2J", help="\x1b]0;x\x07")

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


def test_a_token_is_masked_wherever_it_would_be_shown() -> None:
    token = "hf_" + "Zz9" * 12
    text = shown(f"a: {token}", 4, 5, message=f"not {token}", help=f"write {token}")

    assert token not in text
    assert "hf_Z***" in text


def test_a_second_place_of_another_file_is_shown_with_its_name() -> None:
    source = Source("f.yaml", {"f.yaml": "a: 1", "g.yaml": "b: 2"})
    found = Diagnostic("R201", "x", span=Span("f.yaml", 1, 4, 1, 5), also=((("b",), "and here"),))

    assert "f.yaml:1:4" in render([found], source, colour=False)


def test_a_place_in_a_file_that_was_not_read_is_named_without_its_line() -> None:
    found = Diagnostic("D102", "no JSON", span=Span("rows.jsonl", 7, 1, 7, 2))

    assert render([found], Source("f", {}), colour=False) == "error[D102]: no JSON\n --> rows.jsonl:7:1"


def test_colour_only_adds_escapes() -> None:
    import re

    loaded = load("-", text="version: 1\nname: a b\n")
    plain = render(loaded.diagnostics, loaded.source, colour=False)
    coloured = render(loaded.diagnostics, loaded.source, colour=True)

    assert coloured != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_no_colour_is_wanted_where_no_person_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())  # type: ignore[arg-type]
