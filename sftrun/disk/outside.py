"""JSON that another process has written: read, and not believed.

A file of ours may have been cut short, edited, or put there by somebody else.  So numbers are finite, size and depth
are bounded, text can be printed, and what was asked for as an object is one.  Whatever the bytes are, the answer is a
value or `Damaged`, which the caller turns into words of his own.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:  # listing runs needs no pydantic
    from sftrun.strict import Strict

MAX_BYTES = 1 << 25
MAX_DEPTH = 64
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
    return parse_object(_read(path, max_bytes), max_bytes=max_bytes)


def read_model(kind: type[Model], path: Path, *, max_bytes: int = MAX_BYTES) -> Model:
    """The model in a file; OSError where it can't be read."""
    return parse_model(kind, _read(path, max_bytes), max_bytes=max_bytes)


def _read(path: Path, max_bytes: int) -> bytes:
    """No more than is needed to see that it is too long."""
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


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
