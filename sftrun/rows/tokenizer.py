"""A model's tokenizer from its `tokenizer.json`: the Rust library alone, without transformers (0.05 s instead of 3)."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sftrun.errors import Problem
from sftrun.rows.pieces import Disagreement, Pieces

CHECKED_EVERY = 64
Pair = tuple[str, str]


class Measured(NamedTuple):
    """One row of prompt and completion: tokens in all, and how many stand before the first that is learnt.

    `clean` is False where the prompt's last tokens merge with the completion's first.
    """

    tokens: int
    border: int
    clean: bool = True


class Spec(NamedTuple):
    """A tokenizer's files as read: enough to say whether it is the one that rows were counted with."""

    folder: Path
    text: bytes
    settings: dict[str, Any]
    template: str | None

    @property
    def eos(self) -> str:
        return _content(self.settings.get("eos_token"))

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text + json.dumps([self.eos, self.template]).encode()).hexdigest()


class Tokens:
    """Text -> ids, as the trainer will have them."""

    def __init__(self, spec: Spec) -> None:
        from tokenizers import Tokenizer

        self.folder = spec.folder
        self.eos = spec.eos
        self.variables = {k: _content(v) for k, v in spec.settings.items() if k.endswith("_token") and _content(v)}
        self.template = spec.template
        self.tokenizer = Tokenizer.from_str(spec.text.decode())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self._pieces = Pieces.of(self.tokenizer, json.loads(spec.text))
        self._before = self._specials_before()

    def without_pieces(self) -> None:
        """From here on every row goes through the tokenizer itself."""
        self._pieces = None

    def ended(self, text: str) -> str:
        """The text with the end-of-sequence token, once."""
        return text if text.endswith(self.eos) else text + self.eos

    def encode(self, text: str) -> Any:
        """A whole text, with the special tokens that the tokenizer adds (`<s>`)."""
        return self.tokenizer.encode(text)

    def encode_rendered(self, text: str) -> Any:
        """A text that a chat template made: its special tokens are in it already."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def count_rendered(self, texts: Sequence[str]) -> list[int]:
        return [len(found) for found in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def measure(self, pairs: Sequence[Pair], *, only: bool) -> list[Measured]:
        """Prompt and completion, one row each; with `only`, what is learnt begins where they part."""
        if self._pieces is None or self._before is None:
            return list(self._slow(pairs, only))
        result = [self._fast(prompt, completion, only) for prompt, completion in pairs]
        left = [number for number, found in enumerate(result) if found is None or number % CHECKED_EVERY == 0]
        for number, exact in zip(left, self._slow([pairs[number] for number in left], only), strict=True):
            if result[number] not in (None, exact):
                raise Disagreement(pairs[number][0])
            result[number] = exact
        return [found for found in result if found is not None]

    def _fast(self, prompt: str, completion: str, only: bool) -> Measured | None:
        assert self._pieces is not None
        assert self._before is not None
        body = prompt + completion.removesuffix(self.eos) if completion else prompt.removesuffix(self.eos)
        if not self._pieces.takes(body):
            return None
        whole = self._pieces.ids(body)
        tokens = self._before + len(whole) + 1
        if not only:
            return Measured(tokens, 0)
        head = self._pieces.ids(prompt)
        border = len(head) if whole[: len(head)] == head else _common(head, whole)
        return Measured(tokens, self._before + border, clean=border == len(head))

    def _slow(self, pairs: Sequence[Pair], only: bool) -> Iterator[Measured]:
        wholes = self.tokenizer.encode_batch_fast([self.ended(prompt + completion) for prompt, completion in pairs])
        if not only:
            yield from (Measured(len(whole), 0) for whole in wholes)
            return
        heads = self.tokenizer.encode_batch_fast([prompt for prompt, _ in pairs])
        for whole, head in zip(wholes, heads, strict=True):
            border = _common(head.ids, whole.ids)
            yield Measured(len(whole), border, clean=border == len(head))

    def _specials_before(self) -> int | None:
        """Special tokens put before a text; None if any is put behind, which the fast way does not do."""
        with_specials, without = self.encode("a").ids, self.encode_rendered("a").ids
        before = len(with_specials) - len(without)
        return before if with_specials[before:] == without else None


def read(folder: Path | None) -> Spec | Problem:
    """The files of a model's tokenizer, or why there are none; a millisecond, where `load` takes a hundred."""
    if folder is None:
        return Problem(
            "missing", "the model's files are not on this machine", "lengths are known once it is in the Hub's cache"
        )
    if find_spec("tokenizers") is None:
        return Problem("missing", "the package `tokenizers` is not installed", "run `pip install tokenizers`")
    try:
        text = (folder / "tokenizer.json").read_bytes()
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
        return Spec(folder, text, dict(settings), _template(folder, settings))
    except FileNotFoundError as error:
        return Problem("missing", f"{error.filename} does not exist", "save the tokenizer beside the model")
    except Exception as error:  # whatever a settings file may hold in place of an object
        return _malformed(folder, error)


def load(folder: Path | None) -> Tokens | Problem:
    """The tokenizer of a model's folder, or why there is none."""
    spec = read(folder)
    if isinstance(spec, Problem):
        return spec
    try:
        found = Tokens(spec)
    except Exception as error:  # the Rust library raises plain Exception for a file that it can't read
        return _malformed(spec.folder, error)
    if not found.eos:
        return Problem(
            "malformed", f"{spec.folder / 'tokenizer_config.json'} names no `eos_token`", "save the tokenizer again"
        )
    return found


def _malformed(folder: Path, error: Exception) -> Problem:
    message = f"{folder / 'tokenizer.json'} can't be read: {str(error).splitlines()[0]}"
    return Problem("malformed", message, "download the model again")


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    apart = folder / "chat_template.jinja"
    if apart.exists():
        return apart.read_text(encoding="utf-8")
    given = settings.get("chat_template")
    if isinstance(given, list):
        named = {entry["name"]: entry["template"] for entry in given}
        return named.get("default")
    return given if isinstance(given, str) else None


def _content(token: object) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((number for number, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
