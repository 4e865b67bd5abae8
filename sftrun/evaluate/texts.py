"""Answers against what is expected, by their text: equal, contained, by words in common."""

import re
import string
import unicodedata
from collections import Counter
from typing import Final

_FENCE: Final = re.compile(r"\A\s*```[^\n`]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: Final = frozenset(string.punctuation)
# Chinese and Japanese have no spaces: each letter is a word
_LETTER: Final = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


def plain(text: str) -> str:
    """One form of a text: NFC, newlines as \\n, no spaces at the ends of lines, none around the whole."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def unfenced(text: str) -> str:
    """What stands between Markdown's fences where they enclose all of it."""
    found = _FENCE.match(text)
    return found[1] if found else text


def is_same(answer: str, expected: str) -> bool:
    """Whether both say the same, letter for letter but for spaces that nobody sees."""
    return plain(answer) == plain(expected)


def contains(answer: str, expected: str) -> bool:
    """Whether the expected text stands in the answer, whatever its capitals and spaces."""
    return _folded(expected) in _folded(answer)


def f1(answer: str, expected: str) -> float:
    """Words in common, as SQuAD counts them: the harmonic mean of precision and recall."""
    said, wanted = words(answer), words(expected)
    common = sum((Counter(said) & Counter(wanted)).values())
    if not said or not wanted:
        return float(said == wanted)
    return 2 * common / (len(said) + len(wanted))


def words(text: str) -> list[str]:
    """In small letters, without punctuation and articles."""
    bare = "".join(char for char in text.lower() if char not in _PUNCTUATION)
    return _LETTER.sub(r" \1 ", _ARTICLES.sub(" ", bare)).split()


def letters_apart(text: str) -> str:
    """With spaces around letters that are words of their own."""
    return _LETTER.sub(r" \1 ", text)


def _folded(text: str) -> str:
    return " ".join(plain(text).casefold().split())
