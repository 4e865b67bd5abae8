"""Text -> tree: places, bounds, and files that are no recipes at all."""

import os
import time
from pathlib import Path

import pytest

from sftrun.recipe.load import load
from sftrun.recipe.read.nodes import MapNode, resolve
from sftrun.recipe.read.source import parse


def first(file: str | Path, text: str | bytes | None = None) -> tuple[str, str]:
    found = load(file, text=text).diagnostics[0]
    return found.code, found.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("2.0e-4", 2e-4),
        ("1E5", 1e5),
        ("-3", -3),
        ("+.5", 0.5),
        ("true", True),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("24h", "24h"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
    ],
)
def test_plain_scalars_mean_what_their_author_meant(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_every_node_knows_its_place() -> None:
    root = parse("a: 1\nb:\n  c: [x, 'y z']\n", "f")[0].root
    assert isinstance(root, MapNode)
    b = root.items["b"]
    assert isinstance(b, MapNode)
    span = b.items["c"].items[1].span  # type: ignore[union-attr]

    assert (span.line, span.column, span.end_line, span.end_column) == (3, 10, 3, 15)
    assert (b.keys["c"].line, b.keys["c"].column) == (3, 3)


def test_a_byte_order_mark_shifts_no_column() -> None:
    loaded = load("-", text=b"\xef\xbb\xbfname: a\n")

    assert loaded.source.place(loaded.diagnostics[0]).column == 1


def test_a_file_of_fifty_megabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)

    started = time.perf_counter()

    assert first(file) == ("Y109", "the file is larger than 256 KiB, which no recipe needs")
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "pipe", "no\0name", "x" * 300])
def test_what_is_no_file_is_told_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    assert first(f"{tmp_path}/{name}")[0] == "Y116"


def test_a_file_that_may_not_be_read_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "closed.yaml"
    file.write_text("version: 1\n")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")

    assert first(file)[0] == "Y116"


def test_a_link_to_itself_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")

    assert first(tmp_path / "loop.yaml")[0] == "Y116"


BOMBS = {
    "flow": "a: " + "[" * 100_000,
    "flow mappings": "a: " + "{a: " * 20_000,
    "block": "".join(f"{' ' * n}a:\n" for n in range(400)),
    "dashes": "- " * 20_000,
    "questions": "? " * 20_000,
    "aliases": "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(5000)),
    "laughs": "a: &a [l,l,l]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: [*c,*c,*c]\n",
    "values": "a: [" + "1," * 60_000 + "]\n",
    "keys": "".join(f"k{n}: 1\n" for n in range(20_000)),
    "text": "a: " + "x" * 250_000,
    "words": "a: " + "x " * 120_000,
    "quotes": 'a: "' + "\\u0041" * 40_000 + '"',
    "comments": "# x\n" * 60_000,
    "unknown keys": "version: 1\n" + "".join(f"trainer{n}: 1\n" for n in range(3000)),
    "tokens": ("hf_" + "a" * 20 + " ") * 10_000,
    "colons": "a: " * 50_000,
    "block text": "a: |\n" + "  x\n" * 60_000,
    "tags": "a: " + "!!str " * 30_000,
    "empty lines": "\n" * 250_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_told_so_within_a_second(name: str) -> None:
    started = time.process_time()

    loaded = load("-", text=BOMBS[name])

    assert loaded.diagnostics
    assert time.process_time() - started < 15
