"""Which stretches of a rendered conversation each assistant turn says, for any template, marked or not.

Without marks the stretches are found by what the template itself prints.  Each turn's text is rendered once more
between two letters of a private plane, which show where it stands.  A turn begins where the conversation up to it,
asked to go on, ends: that is what a server puts before an answer.  It ends where the conversation that ends with it
ends.  Both are compared from the neighbouring turn's text on, so that a template may re-write earlier turns as it
likes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from sftrun.rows.template import Span, Template, Unrenderable
from sftrun.rows.turns import THINKING, Conversation, Message

_FIRST, _LAST = 0xF0000, 0xFFFFD
_LETTER = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_THOUGHT = re.compile(r"(</?think(?:ing)?>)")
_MOST_PIECES = (_LAST - _FIRST) // 2


class Spoken(NamedTuple):
    """The text, and for each turn what the assistant says of it; None for others, and where it could not be found."""

    text: str
    turns: tuple[tuple[Span, ...], ...]


class _Piece(NamedTuple):
    """One text of a turn where it first stands; `number` counts the turn's texts."""

    begin: int
    end: int
    number: int


class _Located(NamedTuple):
    text: str
    pieces: tuple[tuple[_Piece, ...], ...]  # of each turn, in the order in which they stand

    def end(self, turn: int) -> int | None:
        return max((piece.end for piece in self.pieces[turn]), default=None)

    def begin(self, turn: int) -> int | None:
        return min((piece.begin for piece in self.pieces[turn]), default=None)


def by_marks(template: Template, talk: Conversation) -> Spoken:
    """Of a template with marks.  Raises Unrenderable."""
    text, spans = template.render_marked(talk.messages, talk.tools)
    speakers = [number for number, turn in enumerate(talk.messages) if turn["role"] == "assistant"]
    if all(talk.learn[number] for number in speakers):
        everything: list[tuple[Span, ...]] = [()] * len(talk.messages)
        if speakers:
            everything[speakers[0]] = tuple(spans)
        return Spoken(text, tuple(everything))
    return Spoken(text, _shared_out(template, talk, text, spans))


def by_rendering(template: Template, talk: Conversation) -> Spoken:
    """Of any template.  Raises Unrenderable."""
    text = template.render(talk.messages, talk.tools)
    located = _located(template, talk.messages, talk.tools)
    is_sound = located is not None and located.text == text
    find = partial(_by_places, located=located) if located is not None and is_sound else _by_prefix
    turns = [
        find(template, talk, number, text) if turn["role"] == "assistant" else ()
        for number, turn in enumerate(talk.messages)
    ]
    return Spoken(text, tuple(turns))


def _by_places(template: Template, talk: Conversation, turn: int, text: str, located: _Located) -> tuple[Span, ...]:
    if located.end(turn) is None:
        return _by_prefix(template, talk, turn, text)
    alone = _located(template, talk.until(turn + 1), talk.tools) if turn < len(talk.messages) - 1 else None
    begin, found = _begin(template, talk, turn, located), list[Span]()
    for run in _runs(located, turn):
        found.append((begin if not found else run[0].begin, _end(run[-1], turn, text, alone)))
    if alone is None:
        found[-1] = (found[-1][0], len(text))
    return tuple(span for span in found if span[0] < span[1])


def _runs(located: _Located, turn: int) -> Iterator[list[_Piece]]:
    """A turn's texts, apart where somebody else's stands between them: some templates put what a tool says inside."""
    foreign = [piece.begin for number, pieces in enumerate(located.pieces) if number != turn for piece in pieces]
    run: list[_Piece] = []
    for piece in located.pieces[turn]:
        if run and any(run[-1].end <= at < piece.begin for at in foreign):
            yield run
            run = []
        run.append(piece)
    yield run


def _end(piece: _Piece, turn: int, text: str, alone: _Located | None) -> int:
    """Behind what follows the piece in the whole text and in the text that ends with this turn."""
    same = [found for found in alone.pieces[turn] if found.number == piece.number] if alone is not None else []
    if alone is None or not same:
        return piece.end
    return piece.end + len(_common(alone.text[same[0].end :], text[piece.end :]))


def _begin(template: Template, talk: Conversation, turn: int, located: _Located) -> int:
    """Behind what asks for this turn, compared from the end of the turn before it on."""
    first = located.begin(turn)
    before = located.end(turn - 1) if turn else None
    asked = _located(template, talk.until(turn), talk.tools, ask=True) if turn else None
    asked_from = None if asked is None else asked.end(turn - 1)
    if asked is None or before is None or asked_from is None:
        floor = max((piece.end for pieces in located.pieces[:turn] for piece in pieces), default=0)
        begin = max(floor, len(_common(_asked(template, talk, turn), located.text)))
    else:
        begin = before + len(_common(asked.text[asked_from:], located.text[before:]))
    return begin if first is None else min(begin, first)


def _asked(template: Template, talk: Conversation, turn: int) -> str:
    try:
        return template.render(talk.until(turn), talk.tools, ask=True)
    except Unrenderable:
        return ""


def _by_prefix(template: Template, talk: Conversation, turn: int, text: str) -> tuple[Span, ...]:
    """What one turn adds; nothing where a template re-writes earlier turns, as those that hide reasoning do."""
    begin = len(_common(_asked(template, talk, turn), text)) if turn else 0
    whole = text if turn == len(talk.messages) - 1 else template.render(talk.until(turn + 1), talk.tools)
    return ((begin, len(whole)),) if text.startswith(whole) and begin < len(whole) else ()


def _shared_out(
    template: Template, talk: Conversation, text: str, spans: Sequence[Span]
) -> tuple[tuple[Span, ...], ...]:
    """Marked stretches by the turn whose text stands in them."""
    located = _located(template, talk.messages, talk.tools)
    if located is None or located.text != text:
        raise Unrenderable("it can't be told which turn stands where, to leave one of them unlearnt")
    speakers = [number for number, turn in enumerate(talk.messages) if turn["role"] == "assistant"]
    return tuple(
        tuple(span for span in spans if number in speakers and _holds(span, located.pieces[number]))
        for number in range(len(talk.messages))
    )


def _holds(span: Span, pieces: Sequence[_Piece]) -> bool:
    return any(span[0] <= piece.begin and piece.end <= span[1] for piece in pieces)


def _located(template: Template, messages: Sequence[Message], tools: Any, *, ask: bool = False) -> _Located | None:
    """The text with the places of each turn's own texts; None where they can't be lettered."""
    letters = _Letters(messages)
    try:
        lettered = template.render(letters.messages, tools, ask=ask)
    except Unrenderable:
        return None
    return letters.read(lettered) if letters.are_free else None


class _Letters:
    """Messages with each text between two letters of its own."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._owners: list[int] = []
        self.are_free = True
        self.messages = [self._turn(number, turn) for number, turn in enumerate(messages)]

    def read(self, text: str) -> _Located:
        found: list[list[_Piece]] = [[] for _ in self.messages]
        opened: dict[int, int] = {}
        seen = set[int]()
        for shift, letter in enumerate(_LETTER.finditer(text)):
            piece, closes = divmod(ord(letter[0]) - _FIRST, 2)
            at = letter.start() - shift
            if not closes:
                opened.setdefault(piece, at)
            elif piece < len(self._owners) and piece not in seen:
                seen.add(piece)
                owner = self._owners[piece]
                found[owner].append(_Piece(opened.get(piece, at), at, piece - self._owners.index(owner)))
        return _Located(_LETTER.sub("", text), tuple(tuple(sorted(pieces)) for pieces in found))

    def _turn(self, number: int, turn: Message) -> Message:
        own = partial(self._lettered, number)
        made = turn | {"content": self._content(own, turn["content"])}
        made |= {key: own(turn[key]) for key in THINKING if isinstance(turn.get(key), str)}
        if turn.get("tool_calls"):
            made["tool_calls"] = [self._call(number, call) for call in turn["tool_calls"]]
        return made

    def _content(self, own: Callable[[str], str], content: Any) -> Any:
        if isinstance(content, str):
            return "".join(map(own, _THOUGHT.split(content)))
        return [part | {"text": self._content(own, part["text"])} for part in content]

    def _call(self, number: int, call: Message) -> Message:
        if "function" in call:
            return call | {"function": self._call(number, call["function"])}
        return call | {"name": self._lettered(number, call["name"])}

    def _lettered(self, number: int, text: str) -> str:
        core = text.strip()
        if not core or _THOUGHT.fullmatch(core):
            return text
        piece = len(self._owners)
        self._owners.append(number)
        self.are_free = self.are_free and piece < _MOST_PIECES and not _LETTER.search(core)
        if not self.are_free:
            return text
        at = text.index(core)
        opening, closing = chr(_FIRST + 2 * piece), chr(_FIRST + 2 * piece + 1)
        return f"{text[:at]}{opening}{core}{closing}{text[at + len(core) :]}"


def _common(head: str, text: str) -> str:
    """The beginning that both have."""
    if text.startswith(head):
        return head
    pairs = enumerate(zip(head, text, strict=False))
    return head[: next((at for at, (a, b) in pairs if a != b), min(len(head), len(text)))]
