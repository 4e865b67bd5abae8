"""The table of all diagnostic codes, read from `codes.toml`: one entry a code, which TOML itself watches over.

Nothing on the way of `validate` imports this module.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sftrun.diagnostics import Severity
from sftrun.strict import Strict


class Code(Strict):
    """One kind of problem: why it matters, a recipe that has it, and the same recipe mended."""

    code: str
    title: str
    severity: Severity
    why: str
    bad: str
    good: str


def parse(text: str) -> dict[str, Code]:
    """Code -> entry, in the order of the text.  Raises ValueError on a doubled code, a missing or strange word."""
    return {code: _entry(code, told) for code, told in tomllib.loads(text).items()}


def _entry(code: str, told: dict[str, Any]) -> Code:
    as_read = {name: _MENDED[name](text) if name in _MENDED else text for name, text in told.items()}
    return Code.model_validate({"code": code} | as_read)


# a paragraph's lines are joined, and an example ends with its last line
_MENDED: dict[str, Callable[[str], str]] = {
    "why": lambda text: " ".join(text.split()),
    "bad": lambda text: text.removesuffix("\n"),
    "good": lambda text: text.removesuffix("\n"),
}


TABLE = parse(Path(__file__).with_name("codes.toml").read_text("utf-8"))
