"""Durations, memory sizes and GPU names as users write them -> numbers; and durations as we write them.

The recipe's checks have judged the grammar already, so a value that can't be read here raises ValueError.
"""

import re
from typing import Final

LAST_MOMENT: Final = 32_503_680_000.0  # seconds since 1970, the year 3000: a date that any system can show
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MIB: Final = {"mib": 1, "gib": 1024, "tib": 1024 * 1024, "mb": 1e6 / 2**20, "gb": 1e9 / 2**20}


def seconds(text: str | int) -> int:
    """`90s`, `30m`, `24h` or a number of seconds."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+)\s*([smhd]?)", text.strip().lower())
    if match is None:
        raise ValueError(f"`{text}` is no duration")
    return int(match[1]) * _SECONDS[match[2]]


def age(seconds: float) -> str:
    """A duration in one or two units: 12 s, 3 min 20 s, 5 h 2 min."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def mebibytes(text: str | int | None) -> int | None:
    """`16GiB`, or a number of MiB."""
    if text is None or isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b)", text.strip().lower())
    if match is None or match[2] not in _MIB:
        raise ValueError(f"`{text}` is no memory size")
    return int(float(match[1]) * _MIB[match[2]])


def gpu_choices(gpu: str | tuple[str, ...] | None) -> tuple[tuple[str, int], ...]:
    """(name, count) in order of preference; empty for CPU."""
    names = (gpu,) if isinstance(gpu, str) else gpu or ()
    return tuple(_gpu(name) for name in names if name.lower() != "none")


def _gpu(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    return name, int(count or 1)
