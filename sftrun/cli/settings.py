"""sftrun.toml of the working folder: the project's own prices, budget and machine.

A misspelt key is refused: a monthly cap that nobody reads is a cap that does not hold.
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from sftrun.disk import outside
from sftrun.errors import SftrunError

FILE: Final = "sftrun.toml"
_MAX_BYTES: Final = 1 << 18
KEYS: Final = {"prices": ("file",), "budget": ("month_usd",), "local": ("usd_per_hour",)}


def setting(section: str, key: str) -> Any:
    """One value; None where the file or the key is missing."""
    return _read().get(section, {}).get(key)


def text(section: str, key: str, example: str) -> str | None:
    """One text."""
    said = setting(section, key)
    if said is not None and not isinstance(said, str):
        raise SftrunError(f"`{key}` of {FILE} is `{said}`, no text", help=f'write for example "{example}"')
    return said


def amount(section: str, key: str, example: str) -> Decimal | None:
    """One amount of money, which must be finite and not negative."""
    said = setting(section, key)
    if said is None:
        return None
    try:
        found = Decimal(str(said))
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or found < 0:
        raise SftrunError(f"`{key}` of {FILE} is `{said}`, no amount", help=f'write for example "{example}"')
    return found


def _read() -> dict[str, dict[str, Any]]:
    file = Path(FILE)
    if not file.exists():
        return {}
    import tomllib
    from difflib import get_close_matches

    try:
        found = tomllib.loads(outside.read_text(file, max_bytes=_MAX_BYTES))
    except RecursionError as error:
        raise SftrunError(f"`{file}` can't be read: it nests too deep", help="mend it, or move it away") from error
    except (OSError, ValueError) as error:
        raise SftrunError(f"`{file}` can't be read: {error}", help="mend it, or move it away") from error
    for said, known in _wrong(found):
        near = get_close_matches(said.strip("[]"), known, n=1)
        names = ", ".join(f"`{name}`" for name in known)
        raise SftrunError(
            f"{FILE} has `{said}`, which nothing reads",
            help=f"did you mean `{near[0]}`?" if near else f"it knows {names}",
        )
    return found


def _wrong(found: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names that nothing reads, each with those that could stand in its place."""
    for section, keys in found.items():
        if section not in KEYS or not isinstance(keys, dict):
            yield f"[{section}]" if isinstance(keys, dict) else section, tuple(f"[{name}]" for name in KEYS)
        else:
            yield from ((key, KEYS[section]) for key in keys if key not in KEYS[section])
