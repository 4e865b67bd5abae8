"""Token ids of plain text, ten times as fast as the tokenizer itself: cut into words here, and each word asked once.

BPE works inside the pieces that the pre-tokenizer cuts, so a piece has the same tokens wherever it stands, and the
pieces of a data set repeat.  Only what can be shown to be the same is done here: text in ASCII (where `\\p{L}` is
`A-Za-z`), pre-tokenizers made of known parts, no special token inside.  All else is left to the tokenizer, and
`facts.tokens` compares every 64th row with it.
"""

import re
from collections.abc import Sequence
from typing import Any

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CLASSES = {"L": "A-Za-z", "Lu": "A-Z", "Ll": "a-z", "Lt": "", "Lm": "", "Lo": "", "M": "", "N": "0-9", "Nd": "0-9"}
_CLASS = re.compile(r"\\p\{(\w+)\}")
_MAX_REMEMBERED = 400_000
_MARK = "▁"
Ids = tuple[int, ...]


class Pieces:
    """Ids of ASCII text under one tokenizer; `None` from `of` where that can't be shown to be right."""

    def __init__(
        self, steps: Sequence[re.Pattern[str]], ids: "_Remembered", specials: Sequence[str], marked: bool
    ) -> None:
        self._steps = tuple(steps)
        self._ids = ids
        self._first_letters = "".join({special[0] for special in specials})
        self._special = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        self._marked = marked

    @staticmethod
    def of(tokenizer: Any, spec: dict[str, Any]) -> "Pieces | None":
        """For a loaded `tokenizers.Tokenizer` and the JSON that it came from."""
        model = spec.get("model") or {}
        specials = [token["content"] for token in spec.get("added_tokens") or ()]
        if model.get("type") != "BPE" or model.get("dropout") or not all(specials):
            return None
        marked = _is_marked(spec)
        steps = [re.compile(f"{_MARK}+[^{_MARK}]*|[^{_MARK}]+")] if marked else _steps(spec)
        if not steps or (marked and not _words_begin_with_mark(model)):
            return None
        return Pieces(steps, _Remembered(tokenizer.model, byte_level=not marked), specials, marked)

    def takes(self, text: str) -> bool:
        """True for text that this page may cut."""
        return text.isascii() and not (any(c in text for c in self._first_letters) and self._special.search(text))

    def ids(self, text: str) -> list[Ids]:
        """Ids of each piece; the tokenizer's own are these in a row."""
        if len(self._ids) > _MAX_REMEMBERED:
            self._ids.clear()
        return list(map(self._ids.__getitem__, self._cut(text)))

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
    def __init__(self, model: Any, *, byte_level: bool) -> None:
        self._model = model
        self._letters = _byte_letters() if byte_level else {}

    def __missing__(self, piece: str) -> Ids:
        found = tuple(token.id for token in self._model.tokenize(piece.translate(self._letters)))
        self[piece] = found
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


def _steps(spec: dict[str, Any]) -> list[re.Pattern[str]]:
    if not _leaves_ascii_alone(spec.get("normalizer")):
        return []
    part = spec.get("pre_tokenizer") or {}
    parts = part.get("pretokenizers", []) if part.get("type") == "Sequence" else [part]
    patterns = [_pattern(part) for part in parts]
    if None in patterns or not parts or parts[-1].get("type") != "ByteLevel":
        return []
    try:
        return [re.compile(_translated(pattern), re.ASCII) for pattern in patterns if pattern]
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
            return r"[0-9]|[^0-9]+" if alone else r"[0-9]+|[^0-9]+"
    return None


def _translated(pattern: str) -> str:
    def ascii_class(found: re.Match[str]) -> str:
        letters = _CLASSES[found[1]]
        before = pattern[: found.start()]
        inside = before.count("[") - before.count(r"\[") > before.count("]") - before.count(r"\]")
        return letters if inside else f"[{letters}]" if letters else "(?!)"

    return _CLASS.sub(ascii_class, pattern)


def _leaves_ascii_alone(normalizer: dict[str, Any] | None) -> bool:
    kinds = (
        [normalizer]
        if normalizer and normalizer.get("type") != "Sequence"
        else (normalizer or {}).get("normalizers", [])
    )
    return all(kind and kind.get("type") in ("NFC", "NFKC", "NFD", "NFKD") for kind in kinds)
