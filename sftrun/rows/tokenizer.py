"""A model's tokenizer from its `tokenizer.json`: the Rust library alone, without transformers (0.05 s instead of 3).

The checks and the job read the same files by this page, so that a text has the same tokens in both.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sftrun.contract.row_rules import RowRules
from sftrun.disk import outside
from sftrun.errors import Problem
from sftrun.rows.pieces import Disagreement, Pieces
from sftrun.rows.template import Template

CHECKED_EVERY = 64
Pair = tuple[str, str]
MAX_BYTES = 1 << 28  # of tokenizer.json: the largest in use have some 40 MB
FILE, SETTINGS, SPECIALS = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
DEFAULT, WITH_TOOLS = "default", "tool_use"


class Measured(NamedTuple):
    """One row of prompt and completion: tokens in all, and how many stand before the first that is learnt.

    `clean` is False where the prompt's last tokens merge with the completion's first.
    """

    tokens: int
    border: int
    clean: bool = True


class Spec(NamedTuple):
    """A tokenizer's files as read, with what a recipe changes of them: enough to say whether it is the same one."""

    folder: Path
    text: bytes
    settings: Mapping[str, Any]
    templates: Mapping[str, str]
    eos: str
    pad: str | None = None
    added: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides a token."""
        told: list[object] = [self.eos, sorted(self.templates.items()), sorted(self.variables.items())]
        told += [list(self.added)] if self.added else []
        return hashlib.sha256(self.text + json.dumps(told).encode()).hexdigest()

    @property
    def variables(self) -> dict[str, str]:
        """The special tokens by the names that chat templates know them by."""
        named = {key: _content(value) for key, value in self.settings.items() if key.endswith("_token")}
        more = self.settings.get("extra_special_tokens")
        named |= {key: _content(value) for key, value in more.items()} if isinstance(more, dict) else {}
        return {key: value for key, value in (named | {"eos_token": self.eos}).items() if value}


class Tokens:
    """Text -> ids, as the trainer will have them."""

    def __init__(self, spec: Spec) -> None:
        from tokenizers import Tokenizer

        self.spec = spec
        self.folder = spec.folder
        self.eos = spec.eos
        self.tokenizer = Tokenizer.from_str(spec.text.decode())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        is_changed = _add_missing(self.tokenizer, spec)
        self._pieces = Pieces.of(self.tokenizer, json.loads(self.tokenizer.to_str() if is_changed else spec.text))
        self._before = self._specials_before()
        self._templates = {name: Template(text, spec.variables) for name, text in spec.templates.items()}

    def without_pieces(self) -> None:
        """From here on every row goes through the tokenizer itself."""
        self._pieces = None

    def template_for(self, tools: object) -> Template | None:
        """The chat template of a row, as transformers: of several `tool_use` where it has tools, else `default`."""
        if tools and WITH_TOOLS in self._templates:
            return self._templates[WITH_TOOLS]
        return self._templates.get(DEFAULT) or next(iter(self._templates.values()), None)

    def ended(self, text: str) -> str:
        """The text with the end-of-sequence token, once."""
        return text if text.endswith(self.eos) else text + self.eos

    def encode(self, text: str) -> Any:
        """A whole text, with the special tokens that the tokenizer adds (`<s>`)."""
        return self.tokenizer.encode(text)

    def encode_rendered(self, text: str) -> Any:
        """A text that a chat template made: its special tokens are in it already."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole texts; offsets are never made."""
        return [found.ids for found in self.tokenizer.encode_batch_fast(list(texts))]

    @cached_property
    def begin_text(self) -> str:
        """The token that is put before every text (`<s>`), as text; empty where there is none."""
        return str(self.tokenizer.id_to_token(self.encode("a").ids[0])) if self._before == 1 else ""

    @cached_property
    def specials(self) -> tuple[str, ...]:
        """The tokenizer's special tokens as texts."""
        return tuple(str(token) for token in self.tokenizer.get_added_tokens_decoder().values() if token.special)

    @cached_property
    def added(self) -> dict[int, str]:
        """The tokens that stand beside the vocabulary, special or not: id -> text."""
        return {number: str(token) for number, token in self.tokenizer.get_added_tokens_decoder().items()}

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
        border = len(head) if whole[: len(head)] == head else common(head, whole)
        return Measured(tokens, self._before + border, clean=border == len(head))

    def _slow(self, pairs: Sequence[Pair], only: bool) -> Iterator[Measured]:
        wholes = self.encode_many([self.ended(prompt + completion) for prompt, completion in pairs])
        if not only:
            yield from (Measured(len(whole), 0) for whole in wholes)
            return
        heads = self.encode_many([prompt for prompt, _ in pairs])
        for whole, head in zip(wholes, heads, strict=True):
            border = common(head, whole)
            yield Measured(len(whole), border, clean=border == len(head))

    def _specials_before(self) -> int | None:
        """Special tokens put before a text; None if any is put behind, which the fast way does not do."""
        with_specials, without = self.encode("a").ids, self.encode_rendered("a").ids
        before = len(with_specials) - len(without)
        return before if with_specials[before:] == without else None


def _add_missing(tokenizer: Any, spec: Spec) -> bool:
    """Tokens that only the settings name, as transformers adds them: without, an end token is learnt as its letters."""
    from tokenizers import AddedToken

    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    listed = spec.settings.get("added_tokens_decoder")
    entries = [entry for entry in listed.values() if isinstance(entry, dict)] if isinstance(listed, dict) else []
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    added = [
        AddedToken(_content(entry), **{flag: bool(entry[flag]) for flag in flags if flag in entry})
        for entry in entries
        if _content(entry) and _content(entry) not in known
    ]
    named = {token for token in spec.variables.values() if tokenizer.token_to_id(token) is not None}
    more = sorted(named - known - {token.content for token in added} - set(spec.added))
    more += [token for token in spec.added if token not in known]
    added += [AddedToken(token, special=True, normalized=False) for token in more]
    return bool(added and tokenizer.add_tokens(added) + len(added))


def read(folder: Path | None, rules: RowRules | None = None) -> Spec | Problem:
    """The files of a model's tokenizer, or why there are none; a millisecond, where `load` takes a hundred."""
    if folder is None:
        return Problem(
            "missing", "the model's files are not on this machine", "lengths are known once it is in the Hub's cache"
        )
    if find_spec("tokenizers") is None:
        return Problem("missing", "the package `tokenizers` is not installed", "run `pip install tokenizers`")
    try:
        text = outside.read_bytes(folder / FILE, max_bytes=MAX_BYTES)
        settings = _settings(folder)
        return spec_of(folder, text, settings, _templates(folder, settings), rules or RowRules())
    except FileNotFoundError as error:
        return Problem("missing", f"{error.filename} does not exist", "save the tokenizer beside the model")
    except Exception as error:  # whatever a settings file may hold in place of an object
        return _malformed(folder, error)


def spec_of(
    folder: Path, text: bytes, settings: Mapping[str, Any], templates: Mapping[str, str], rules: RowRules
) -> Spec:
    """The files as a recipe wants them."""
    own = {DEFAULT: rules.chat_template} if rules.chat_template is not None else templates
    eos = rules.eos_token or _content(settings.get("eos_token"))
    pad = rules.pad_token or _content(settings.get("pad_token")) or None
    return Spec(folder, text, settings, own, eos, pad, rules.add_tokens)


def load(folder: Path | None, rules: RowRules | None = None) -> Tokens | Problem:
    """The tokenizer of a model's folder, or why there is none."""
    spec = read(folder, rules)
    return spec if isinstance(spec, Problem) else made(spec)


def made(spec: Spec) -> Tokens | Problem:
    """The tokenizer of files that were read."""
    try:
        found = Tokens(spec)
    except Exception as error:  # the Rust library raises plain Exception for a file that it can't read
        return _malformed(spec.folder, error)
    if not found.eos:
        return Problem(
            "malformed", f"{spec.folder / SETTINGS} names no `eos_token`", "write `dataset.eos_token`, or save it again"
        )
    return found


def lacking(tokens: Tokens, rules: RowRules) -> Iterator[tuple[Literal["eos_token", "pad_token"], str]]:
    """(key, token) of each token that the rules name and the vocabulary has not."""
    if rules.eos_token is not None and tokens.tokenizer.token_to_id(rules.eos_token) is None:
        yield "eos_token", rules.eos_token
    if rules.pad_token is not None and tokens.tokenizer.token_to_id(rules.pad_token) is None:
        yield "pad_token", rules.pad_token


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens are the same from the beginning on."""
    if b[: len(a)] == a:
        return len(a)
    return next((number for number, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _malformed(folder: Path, error: Exception) -> Problem:
    message = f"{folder / FILE} can't be read: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return Problem("malformed", message, "download the model again")


def _settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, with what only the older special_tokens_map.json says."""
    settings = dict(json.loads(outside.read_bytes(folder / SETTINGS)))
    older = folder / SPECIALS
    specials = dict(json.loads(outside.read_bytes(older))) if older.exists() else {}
    return specials | {key: value for key, value in settings.items() if value is not None or key not in specials}


def _templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """By name; files win over what stands in the settings, as in transformers."""
    apart = {
        file.stem: outside.read_text(file) for file in sorted((folder / "additional_chat_templates").glob("*.jinja"))
    }
    if (folder / "chat_template.jinja").exists():
        apart[DEFAULT] = outside.read_text(folder / "chat_template.jinja")
    if apart:
        return apart
    given = settings.get("chat_template")
    if isinstance(given, list):
        return {str(entry["name"]): str(entry["template"]) for entry in given}
    if isinstance(given, dict):
        return {str(name): str(text) for name, text in given.items()}
    return {DEFAULT: given} if isinstance(given, str) and given else {}


def _content(token: object) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""
