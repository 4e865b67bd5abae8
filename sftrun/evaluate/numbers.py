"""Numbers in running text, as people and models write them: 13.96 million, 1,396万, 13 960 000, 45.3 %, 1億2,600万."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

_SCALES: Final = {
    **{"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12},
    **{"k": 1e3, "K": 1e3, "mn": 1e6, "M": 1e6, "mio": 1e6, "bn": 1e9, "B": 1e9, "tn": 1e12},
    **{"千": 1e3, "万": 1e4, "億": 1e8, "兆": 1e12, "百万": 1e6, "亿": 1e8},
}
_SPACE: Final = "[ \u00a0\u2009\u202f]"
_DIGITS: Final = rf"""
    \d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?      # 13,960,000.5
  | \d{{1,3}}(?:\.\d{{3}}){{2,}}(?:,\d+)? # 13.960.000,5
  | \d{{1,3}}(?:{_SPACE}\d{{3}})+(?:[.,]\d+)?(?![\d,.]*\d)
  | \d{{1,3}}(?:['’_]\d{{3}})+(?:\.\d+)?
  | \d+,\d{{1,2}}(?!\d)                   # 12,5: a decimal comma
  | \d+(?:\.\d+)?(?:[eE][+-]?\d+)?
  | \.\d+
"""
_SCALE: Final = (
    rf"{_SPACE}?(?:hundred|thousand|million|billion|trillion)s?\b|(?:k|K|mn|M|mio|bn|B|tn)\b"
    rf"|{_SPACE}?(?:百万|[千万億兆亿])"
)
_PERCENT: Final = rf"{_SPACE}?(?:%|％|percent\b|per{_SPACE}cent\b|パーセント)"
_NUMBER: Final = re.compile(
    rf"(?<![A-Za-z0-9_.À-ɏ])(?P<sign>[-−–]?)(?:[$€£¥])?(?P<digits>{_DIGITS})(?![.]?\d)(?P<scale>{_SCALE})?(?P<percent>{_PERCENT})?",
    re.VERBOSE,
)
_MYRIADS: Final = "千万億兆亿"
_WIDE: Final = "，．％－"
_YEARS: Final = (1500, 2100)
_SAME: Final = 1e-9


class Number(NamedTuple):
    """A number that a text says; `is_year` where it may be one: four digits and nothing else."""

    value: float
    is_percent: bool = False
    is_year: bool = False


def numbers(text: str) -> list[Number]:
    """All of them, in order; what stands within a word or a version (c5, 1.2.3) is none."""
    plain = "".join(map(_plain, text))
    found: list[Number] = []
    end = -1
    for match in _NUMBER.finditer(plain):
        number = _number(match)
        is_next_part = match.start() == end and plain[end - 1] in _MYRIADS and not match["sign"]
        if is_next_part and number.value < found[-1].value:  # 1億2,600万 is one
            found[-1] = number._replace(value=found[-1].value + number.value, is_year=False)
        else:
            found.append(number)
        end = match.end()
    return found


def _plain(char: str) -> str:
    """Full-width digits and their signs as the plain ones; ½ and its like stay what they are."""
    if char in _WIDE or unicodedata.decimal(char, None) is not None:
        return unicodedata.normalize("NFKC", char)
    return char


def _number(match: "re.Match[str]") -> Number:
    digits, scale = match["digits"], (match["scale"] or "").strip()
    value = _value(digits) * _SCALES.get(scale.removesuffix("s") if len(scale) > 2 else scale, 1.0)
    is_plain = len(digits) == 4 and digits.isdigit() and not (scale or match["percent"] or match["sign"])
    return Number(
        -value if match["sign"] else value,
        bool(match["percent"]),
        is_plain and _YEARS[0] <= value <= _YEARS[1],
    )


def _value(digits: str) -> float:
    plain = re.sub(r"[\s'’_]", "", digits)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain):
        return float(plain.replace(",", ""))
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?", plain):
        return float(plain.replace(".", "").replace(",", "."))
    return float(plain.replace(",", "."))


def beyond(said: Sequence[Number], asked: Sequence[Number]) -> list[Number]:
    """What a text says that its question did not; years count only where nothing else is said."""
    given = {number.value for number in asked}
    new = [number for number in said if number.value not in given] or list(said)
    return [number for number in new if not number.is_year] or new


def agree(one: Number, other: Number, tolerance: float) -> bool:
    """Whether they are the same within a share of the second; 45.3 % is 0.453 too, where the other has no sign."""
    scales = (1.0,) if one.is_percent == other.is_percent else (1.0, 0.01 if one.is_percent else 100.0)
    room = max(tolerance, _SAME) * abs(other.value)
    return any(abs(one.value * scale - other.value) <= room for scale in scales)
