"""Keys, e-mail addresses and card numbers in a row: found in microseconds, said by their kind, never by their value."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sftrun import key_forms

# one pass over the bytes rules most rows out: a key is a long word, a card a long number
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_WORDS = bytes(ord("a") if letter in _LETTERS else ord(" ") for letter in range(256))
_DIGITS = bytes(ord("0") if chr(letter).isdecimal() and letter < 128 else ord(" ") for letter in range(256))
_LONG_WORD, _LONG_NUMBER = b"a" * 15, b"0" * 13
_KEY_FILE = b"PRIVATE KEY-----"
_MAIL = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._%+-]{0,63})@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9])")
# of documentation, and of servers that are named like addresses
_NOBODY = re.compile(rb"(?:^|\.)(?:example\.(?:com|net|org)|(?:example|test|invalid|localhost|local|internal))$", re.I)
_CARD = re.compile(
    rb"(?<![\d.])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5})(?![ -]?\d)(?!\.\d)"
)
# (first digits, lengths) that issuers of cards have
_ISSUERS = re.compile(rb"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|(?:6011|65\d\d|35\d\d)\d{12}")


PERSONAL = (_MAIL_ADDRESS, _CARD_NUMBER) = ("an e-mail address", "a card number")


class Private(NamedTuple):
    """What a row holds that should not be learnt: a secret of a machine or personal data, and of which kind."""

    kind: Literal["secret", "personal"]
    what: str


def found(content: bytes) -> Iterator[Private]:
    """Each kind once, in a row's texts or their JSON."""
    if _KEY_FILE in content or _LONG_WORD in content.translate(_WORDS):
        yield from _keys(content)
    if b"@" in content and any(_is_mail(*match.groups()) for match in _MAIL.finditer(content)):
        yield Private("personal", _MAIL_ADDRESS)
    if _LONG_NUMBER in content.translate(_DIGITS, b" -") and any(map(_is_card, _CARD.finditer(content))):
        yield Private("personal", _CARD_NUMBER)


def _keys(content: bytes) -> Iterator[Private]:
    text = content.decode("utf-8", "replace").replace("\\n", "\n").replace("\\t", "\t")
    for whose in dict.fromkeys(whose for _, _, whose in key_forms.find(text)):
        yield Private("secret", whose if whose.startswith("a ") else f"a key of {whose}")


def _is_mail(local: bytes, domain: bytes) -> bool:
    return local.lower() != b"git" and _NOBODY.search(domain) is None


def _is_card(match: re.Match[bytes]) -> bool:
    digits = match[0].replace(b" ", b"").replace(b"-", b"")
    return _ISSUERS.fullmatch(digits) is not None and len(set(digits)) > 1 and _passes_luhn(digits)


def _passes_luhn(digits: bytes) -> bool:
    """ISO/IEC 7812: every second digit from the right is doubled, and its own digits are added."""
    values = [digit - ord("0") for digit in reversed(digits)]
    doubled = (sum(divmod(2 * value, 10)) for value in values[1::2])
    return (sum(values[::2]) + sum(doubled)) % 10 == 0
