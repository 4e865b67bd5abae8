"""JSON of other processes: whatever the bytes are, the answer is a value or `Damaged`."""

import json
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from sftrun.disk import outside
from sftrun.disk.outside import Damaged
from sftrun.strict import Strict


class Told(Strict):
    name: str
    sizes: dict[str, int] = {}
    extra: dict[str, object] = {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ('{"a": ', "is not JSON"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ('{"a": 1e999}', "holds a number out of range"),
        ('{"a": ' + "1" * 5000 + "}", "is not JSON"),
        ('{"a": ' + "[" * 65 + "]" * 65 + "}", "nests more than 64 deep"),
        ("[" * 100_000, "nests more than 64 deep"),
        ('{"a": "\\ud800"}', "holds half a character"),
        ("[1]", "is JSON, but no object"),
        ("\ufeff{}", "is not JSON"),
    ],
)
def test_what_cannot_be_trusted_is_damaged(text: str, words: str) -> None:
    with pytest.raises(Damaged, match=words):
        outside.parse_object(text)


def test_bytes_that_are_no_text_are_damaged() -> None:
    with pytest.raises(Damaged, match="is no UTF-8 text"):
        outside.parse_object(b"\xff\xfe{\x00}\x00")


def test_a_text_that_is_too_long_is_not_parsed() -> None:
    with pytest.raises(Damaged, match="is longer than 10 bytes"):
        outside.parse_object('{"a": "long"}', max_bytes=10)


def test_a_file_without_end_is_read_no_further_than_its_bound() -> None:
    with pytest.raises(OSError, match="it is no file"):
        outside.read_object(Path("/dev/zero"), max_bytes=1000)


def test_a_large_file_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as out:
        out.truncate(1 << 40)
    with pytest.raises(Damaged, match="is longer than 1,000 bytes"):
        outside.read_object(tmp_path / "f", max_bytes=1000)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(OSError, match="it is no file"):
        outside.read_object(tmp_path / "f")


@pytest.mark.parametrize("char", ["\x1b", "\r", "\x07", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\ud83d"])
def test_a_terminal_shows_what_it_could_obey(char: str) -> None:
    assert outside.printable(f"a{char}b\n\tç 日本") == "a\ufffdb\n\tç 日本"


def test_what_nests_as_deep_as_is_allowed_is_read() -> None:
    assert outside.parse('{"a": ' + "[" * 63 + "]" * 63 + "}")


def test_whole_characters_in_two_halves_are_read() -> None:
    assert outside.parse_object('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_a_model_s_fault_is_named_by_its_place() -> None:
    with pytest.raises(Damaged, match=r"has a fault at `sizes\.w`: input should be a valid integer"):
        outside.parse_model(Told, '{"name": "n", "sizes": {"w": "12"}}')


def test_a_field_of_any_kind_holds_no_number_out_of_range() -> None:
    with pytest.raises(Damaged, match="holds NaN"):
        outside.parse_model(Told, '{"name": "n", "extra": {"x": NaN}}')


def test_a_missing_file_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        outside.read_model(Told, tmp_path / "gone")


def test_no_bytes_raise_anything_else() -> None:
    chance = random.Random(7)
    good = json.dumps({"name": "n", "sizes": {"a": 1, "b": 2}, "extra": {"x": [1.5, None, "\ud83d"]}}).encode()
    for _ in range(3000):
        bad = bytearray(good[: chance.randrange(len(good) + 1)])
        for _ in range(chance.randrange(4)):
            if bad:
                bad[chance.randrange(len(bad))] = chance.choice(b'\x00{}[]",:eE-+.09NI\xff\\ud8')
        for read in (outside.parse, outside.parse_object, lambda text: outside.parse_model(Told, text)):
            with suppress(Damaged):
                read(bytes(bad))
