"""Harm done to texts, JSON and files: each from a chance that a seed has set, so that it can be done again."""

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

WORDS = [
    *(b"null true NaN Infinity -Infinity 1e999 1e300 5e-324 -0 0 -1 9007199254740993 \xff".split()),
    b"\xef\xbb\xbf", b"\xed\xa0\x80",
    *(b'{ } [ ] : , " \\ \x00 \x1b[31m \x1b]0;x\x07 \r \\ud83d \\u0000 \xe2\x80\xae ../../x /dev/zero'.split(b" ")),
    b"9" * 400, b"[" * 200, b'{"a":' * 200, b"\n", b"\n\n",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.0, -0.0, 1e300, 5e-324, 1.7e308, "", "x", "0", "NaN", "1e999",
    "\x1b[31mred", "\x1b]0;title\x07", "\u202eback", "\x00", "a\nb", "\r\x1b[2K", "../../x", "/etc/passwd", "x" * 9_999,
    "2026-13-45", "9999-12-31", "é" * 300, "\U0001f600", [], {}, [[]], [None] * 3, {"": None}, {"a": {"a": {"a": 1}}},
    -1e-7, 253402300800.0, -62135596801.0, 1e17, "99999999999999999999.99", "-5", "local", "modal", "finished", "step",
]  # fmt: skip


def bytes_of(data: bytes, chance: Random) -> bytes:
    """Some insertions, deletions, repeats and cuts."""
    for _ in range(chance.randint(1, 5)):
        at, length = chance.randrange(len(data) + 1), chance.randrange(40)
        word = chance.choice(WORDS) if chance.random() < 0.8 else chance.randbytes(chance.randint(1, 8))
        match chance.randrange(5):
            case 0:
                data = data[:at] + word + data[at:]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[:at] + word + data[at + len(word) :]
            case 3:
                data = data[:at] + data[at : at + length] * chance.choice((2, 30)) + data[at + length :]
            case 4 if chance.random() < 0.3:
                data = data[:at]
    return data


def json_of(value: Any, chance: Random) -> Any:
    """One place of a JSON value changed: another value, a key too few, or one too many."""
    places = list(_places(value))
    if not places:
        return chance.choice(VALUES)
    for _ in range(chance.choice((1, 1, 1, 3))):
        owner, key = chance.choice(places)
        try:
            _change(owner, key, chance)
        except (KeyError, IndexError):
            continue
    return value


def _change(owner: Any, key: Any, chance: Random) -> None:
    match chance.randrange(8):
        case 0:
            del owner[key]
        case 1 if isinstance(owner, dict):
            owner[chance.choice(("", "extra", "\x1b[1m", "é", "version"))] = chance.choice(VALUES)
        case 2 if isinstance(owner, list):
            owner.insert(key, owner[key])
        case 3 if isinstance(owner[key], int | float) and not isinstance(owner[key], bool):
            owner[key] = chance.choice((-owner[key], owner[key] * 10**9, owner[key] + 0.5, -1, 0))
        case _:
            owner[key] = chance.choice(VALUES)


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _places(inner)


def file(path: Path, chance: Random) -> str:
    """Harm one file; says how."""
    how = chance.choice(("json",) * 6 + ("bytes",) * 3 + ("kind",))
    if how == "json" and path.suffix in (".json", ".jsonl"):
        _json_file(path, chance)
    elif how == "kind":
        how = _another_kind(path, chance)
    else:
        how = "bytes"
        path.write_bytes(bytes_of(path.read_bytes(), chance))
    return f"{how} of {path.name}"


def _json_file(path: Path, chance: Random) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(json_of(json.loads(path.read_text()), chance)))
        return
    lines = path.read_text().splitlines()
    for _ in range(chance.choice((1, 1, 3, 10))):
        at = chance.randrange(len(lines))
        lines[at] = json.dumps(json_of(json.loads(lines[at]), chance))
        if chance.random() < 0.1:
            lines.insert(chance.randrange(len(lines)), lines[at])
    path.write_text("\n".join(lines) + "\n" * (chance.random() < 0.9))


def _another_kind(path: Path, chance: Random) -> str:
    """What stands there is no longer a file that can be read."""
    how = chance.choice(("folder", "pipe", "endless", "dangling", "loop", "unreadable", "gone", "huge", "empty"))
    path.unlink()
    match how:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(path.name)
        case "unreadable":
            path.write_text("{}")
            path.chmod(0)
        case "huge":
            with path.open("wb") as out:
                out.truncate(200_000_000)
        case "empty":
            path.touch()
    return how


def copied(source: Path, target: Path) -> Path:
    """A folder anew, whatever the last harm has left there."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)
    return target
