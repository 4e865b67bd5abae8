"""JSON that another process has written: read, and not believed.

A file of ours may have been cut short, edited, or put there by somebody else.  So numbers are finite, size and depth
are bounded, text can be printed, and what was asked for as an object is one.  Whatever the bytes are, the answer is a
value or `Damaged`, which the caller turns into words of his own.
"""

import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar

if TYPE_CHECKING:  # listing runs needs no pydantic
    from sftrun.strict import Strict

MAX_BYTES = 1 << 25
MAX_DEPTH = 64
# what a terminal obeys instead of showing it (lines and tabs may be), and halves of a character
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
Model = TypeVar("Model", bound="Strict")


class Damaged(ValueError):
    """What came from outside is not what was asked for; the text says in what way, beginning with a verb."""


def parse(text: str | bytes, *, max_bytes: int = MAX_BYTES) -> object:
    """Any JSON value."""
    if len(text) > max_bytes:
        raise Damaged(f"is longer than {max_bytes:,} bytes")
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value: object = _decoder.decode(decoded)
    except Damaged:
        raise
    except UnicodeDecodeError:
        raise Damaged("is no UTF-8 text") from None
    except RecursionError:
        raise Damaged(f"nests more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise Damaged(f"is not JSON ({_first_line(error)})") from None
    if _is_deep(decoded, value):
        raise Damaged(f"nests more than {MAX_DEPTH} deep")
    if "\\u" in decoded and not _is_text(value):
        raise Damaged("holds half a character (a lone surrogate)")
    return value


def parse_object(text: str | bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, object]:
    """A JSON object."""
    value = parse(text, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise Damaged("is JSON, but no object")
    return value


def parse_model(kind: type[Model], text: str | bytes, *, max_bytes: int = MAX_BYTES) -> Model:
    """A model of ours."""
    from pydantic import ValidationError

    parse_object(text, max_bytes=max_bytes)
    try:
        return kind.read(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Damaged(f"has a fault at `{where}`: {first['msg'].lower()}") from None


def read_object(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, object]:
    """The JSON object in a file; OSError where it can't be read."""
    return parse_object(read_bytes(path, max_bytes=max_bytes), max_bytes=max_bytes)


def read_model(kind: type[Model], path: Path, *, max_bytes: int = MAX_BYTES) -> Model:
    """The model in a file; OSError where it can't be read."""
    return parse_model(kind, read_bytes(path, max_bytes=max_bytes), max_bytes=max_bytes)


def printable(text: str) -> str:
    """The text with a mark in place of what moves a cursor, rings a bell or turns text around on a terminal."""
    return CONTROLS.sub("\ufffd", text)


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """All of a text; OSError where it can't be read, Damaged where it is none or too long."""
    data = read_bytes(path, max_bytes=max_bytes)
    if len(data) > max_bytes:
        raise Damaged(f"is longer than {max_bytes:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("is no UTF-8 text") from None


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """All of a regular file, one byte more than `max_bytes` at most; OSError where it can't be read."""
    with open_file(path) as file:
        return file.read(max_bytes + 1)


def open_file(path: Path) -> BinaryIO:
    """A regular file to read: a pipe would be waited for, and a device has no end.  OSError where it is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(number, "it is no file" if number == errno.EINVAL else os.strerror(number), str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Damaged(f"holds a number out of range ({text[:20]})")
    return number


def _refuse(name: str) -> NoReturn:
    raise Damaged(f"holds {name}, which is no number of JSON")


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)


def _is_deep(text: str, value: object) -> bool:
    """Whether it nests too deep; looked at level by level, and only where there are brackets enough."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    level: list[Any] = [value] if type(value) in _NESTING else []
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _values(outer) if type(inner) in _NESTING]
        if not level:
            return False
    return True


_NESTING = frozenset({dict, list})


def _values(outer: Any) -> Iterable[object]:
    return outer.values() if type(outer) is dict else outer


def _is_text(value: object) -> bool:
    """Whether all of it can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
