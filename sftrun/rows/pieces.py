"""Token ids of plain text, ten times as fast as the tokenizer itself: cut into words here, and each word asked once.

BPE works inside the pieces that the pre-tokenizer cuts, so a piece has the same tokens wherever it stands, and the
pieces of a data set repeat.  Only what can be shown to be the same is done here: text in ASCII (where `\\p{L}` is
`A-Za-z`), pre-tokenizers made of known parts, no special token inside.  Where pieces end with lines, a word that is not
in ASCII goes to the tokenizer by itself; where spaces alone divide them, any letters do.  All else is left to the
tokenizer, and `rows.tokenizer` compares every 64th row with it.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import Any

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_TINY = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGITS, _NUMBERS = r"[0-9]|[^0-9]+", r"[0-9]+|[^0-9]+"
# in these no piece goes on behind a line's end, and what follows it matters only in being no space
_END_WITH_LINES = frozenset({GPT2, _QWEN, _LLAMA3, _TINY})
# lines up to one that begins with no space; the last, and all from an indented line on, as one
_LINE = re.compile(r"[^\n]*\n+(?=\S)|[\s\S]+")
# a space between two letters or signs: in these patterns too, a piece begins with it and nothing looks behind
_BEFORE_WORD = re.compile(r"(?<=\S)(?= \S)")
_MAX_LINES = 50_000
_CLASSES = {"L": "A-Za-z", "Lu": "A-Z", "Ll": "a-z", "Lt": "", "Lm": "", "Lo": "", "M": "", "N": "0-9", "Nd": "0-9"}
_CLASS = re.compile(r"\\p\{(\w+)\}")
_MAX_REMEMBERED = 400_000
_MARK = "▁"
_LETTER = "a"
Ids = tuple[int, ...]


class Pieces:
    """Ids of text under one tokenizer; `None` from `of` where that can't be shown to be right."""

    def __init__(
        self,
        tokenizer: Any,
        steps: Sequence[re.Pattern[str]],
        specials: Sequence[str],
        *,
        marked: bool,
        by_lines: bool,
        takes_all: bool,
    ) -> None:
        self._steps = tuple(steps)
        self._ids = _Remembered(tokenizer, byte_level=not marked)
        self._lines: dict[str, Ids] = {}
        self._by_lines = by_lines
        self._first_letters = "".join({special[0] for special in specials})
        self._special = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        self._marked = marked
        self._takes_all = takes_all

    @staticmethod
    def of(tokenizer: Any, spec: dict[str, Any]) -> "Pieces | None":
        """For a loaded `tokenizers.Tokenizer` and the JSON that it came from."""
        model = spec.get("model") or {}
        specials = [token["content"] for token in spec.get("added_tokens") or ()]
        if model.get("type") != "BPE" or model.get("dropout") or not all(specials):
            return None
        marked = _is_marked(spec)
        patterns = [f"{_MARK}+[^{_MARK}]*|[^{_MARK}]+"] if marked else _patterns(spec)
        steps = _compiled(patterns)
        if not steps or (marked and not _words_begin_with_mark(model)):
            return None
        by_lines = set(patterns) <= _END_WITH_LINES
        takes_all = marked or (by_lines and _leaves_alone(spec.get("normalizer"), ("NFC", "NFD")))
        return Pieces(tokenizer, steps, specials, marked=marked, by_lines=by_lines, takes_all=takes_all)

    def takes(self, text: str) -> bool:
        """True for text that this page may cut."""
        if not (self._takes_all or text.isascii()):
            return False
        return not (any(c in text for c in self._first_letters) and self._special.search(text))

    def ids(self, text: str) -> list[int]:
        """The tokenizer's own ids.  Lines are remembered too: those of a template stand in every row."""
        result: list[int] = []
        *lines, last = (_LINE.findall(text) if self._by_lines else None) or [text]
        for line in lines:
            result += self._lines.get(line) or self._line(line)
        result += self._of(self._cut(last)) if self._cuts(last) else self._of_words(_BEFORE_WORD.split(last))
        return result

    def _line(self, line: str) -> Ids:
        if len(self._lines) > _MAX_LINES:
            self._lines.clear()
        if len(self._ids) > _MAX_REMEMBERED:
            self._ids.clear()
        *words, end = [line] if self._cuts(line) else _BEFORE_WORD.split(line)
        # the letter stands for the next line's beginning: what a piece at the end is depends on there being one
        found: Iterable[int]
        if self._cuts(end):
            *pieces, letter = self._cut(end + _LETTER)
            found, is_apart = self._of(pieces), letter == _LETTER
        else:
            *found, last = self._ids.asked(end + _LETTER)
            is_apart = (last,) == self._ids[_LETTER]
        if not is_apart:
            raise Disagreement(line)
        self._lines[line] = (*self._of_words(words), *found)
        return self._lines[line]

    def _of(self, pieces: Iterable[str]) -> Iterable[int]:
        return chain.from_iterable(map(self._ids.__getitem__, pieces))

    def _of_words(self, words: Iterable[str]) -> list[int]:
        """Those in ASCII are cut further, the others are asked for whole."""
        result: list[int] = []
        for cuts, run in groupby(words, self._cuts):
            together = list(run)
            result += self._of(self._cut("".join(together)) if cuts else together)
        return result

    def _cuts(self, text: str) -> bool:
        """Whether the text is cut here, and not by the tokenizer."""
        return self._marked or text.isascii()

    def _cut(self, text: str) -> list[str]:
        if self._marked and text:
            text = _MARK + text.replace(" ", _MARK)
        pieces = self._steps[0].findall(text)
        for step in self._steps[1:]:
            pieces = [part for piece in pieces for part in step.findall(piece)]
        if sum(map(len, pieces)) != len(text):
            raise Disagreement(text)
        return pieces


class Disagreement(Exception):
    """A text was cut otherwise than the tokenizer does."""


class _Remembered(dict[str, Ids]):
    def __init__(self, tokenizer: Any, *, byte_level: bool) -> None:
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        self._byte_level = byte_level
        self._letters = _byte_letters() if byte_level else {}

    def __missing__(self, piece: str) -> Ids:
        if self._byte_level and not piece.isascii():
            found = tuple(self.asked(piece))
        else:
            found = tuple(token.id for token in self._model.tokenize(piece.translate(self._letters)))
        self[piece] = found
        return found

    def asked(self, text: str) -> list[int]:
        """The tokenizer's own answer, cut and all."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found


def _byte_letters() -> dict[int, str]:
    """GPT-2's letters for bytes, of the ASCII ones that are not printable: space is `Ġ`."""
    unprintable = [byte for byte in range(256) if not (33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255)]
    return {byte: chr(256 + number) for number, byte in enumerate(unprintable) if byte < 128}


def _is_marked(spec: dict[str, Any]) -> bool:
    """SentencePiece's way, as Llama 2, Phi-3 and Mistral have it: no pre-tokenizer, a mark for each space."""
    normalizer = spec.get("normalizer") or {}
    wanted = [
        {"type": "Prepend", "prepend": _MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": _MARK},
    ]
    return spec.get("pre_tokenizer") is None and normalizer.get("normalizers") == wanted


def _words_begin_with_mark(model: dict[str, Any]) -> bool:
    """No token goes on behind a word's end, so that no merge crosses from one piece into the next."""
    crossing = re.compile(f"[^{_MARK}]{_MARK}")
    return not any(crossing.search(token) for token in model.get("vocab") or ())


def _patterns(spec: dict[str, Any]) -> list[str]:
    """Regexes that cut as the pre-tokenizer does, one after the other; empty for an unknown one."""
    if not _leaves_alone(spec.get("normalizer"), ("NFC", "NFKC", "NFD", "NFKD")):
        return []
    part = spec.get("pre_tokenizer") or {}
    parts = part.get("pretokenizers", []) if part.get("type") == "Sequence" else [part]
    found = [_pattern(part) for part in parts]
    if not parts or parts[-1].get("type") != "ByteLevel":
        return []
    return [] if None in found else [pattern for pattern in found if pattern]


def _compiled(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    try:
        return [re.compile(_translated(pattern), re.ASCII) for pattern in patterns]
    except (re.error, KeyError):
        return []


def _pattern(part: dict[str, Any]) -> str | None:
    """A regex that cuts as this part does; empty for one that does not cut; None for an unknown one."""
    match part:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": bool(cuts)}:
            return GPT2 if cuts else ""
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return pattern
        case {"type": "Digits", "individual_digits": bool(alone)}:
            return _DIGITS if alone else _NUMBERS
    return None


def _translated(pattern: str) -> str:
    def ascii_class(found: re.Match[str]) -> str:
        letters = _CLASSES[found[1]]
        before = pattern[: found.start()]
        inside = before.count("[") - before.count(r"\[") > before.count("]") - before.count(r"\]")
        return letters if inside else f"[{letters}]" if letters else "(?!)"

    return _CLASS.sub(ascii_class, pattern)


def _leaves_alone(normalizer: dict[str, Any] | None, harmless: Sequence[str]) -> bool:
    """Whether all that is normalised is of these kinds: all leave ASCII alone, NFC and NFD also what is a space."""
    kinds = (
        [normalizer]
        if normalizer and normalizer.get("type") != "Sequence"
        else (normalizer or {}).get("normalizers", [])
    )
    return all(kind and kind.get("type") in harmless for kind in kinds)
