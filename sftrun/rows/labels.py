"""Rows -> token ids and labels: what is learnt is decided here, for the checks and for the job.

The same as TRL would do row by row (`SFTTrainer._prepare_dataset`), but rows go to the tokenizer in batches, rows with
nothing to learn are said, and without generation marks in a chat template the assistant's turns are found in the text.

A label is the token's id, or -100 where nothing is learnt.  A row's first label never counts: nothing predicts it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from sftrun.contract.choices import DataFormat
from sftrun.contract.row_rules import RowRules
from sftrun.rows import forms, shape, spans, turns, whole
from sftrun.rows.forms import Pair
from sftrun.rows.plain import Row
from sftrun.rows.template import Span, Template, Unrenderable
from sftrun.rows.tokenizer import Measured, Tokens, common
from sftrun.rows.turns import Conversation

IGNORED = -100
# what people mean as the model's own tokens wherever they type it
_THINKING = re.compile(r"</?(think|thinking|tool_call|tool_response)>")


class Labelled(NamedTuple):
    """A row as the model will see it, before it is cut."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


class Refused(NamedTuple):
    """A row that can't be learnt from as it is meant: the template refuses it, or what must be learnt would not be."""

    kind: Literal["template", "incomplete"]
    message: str


class Labeller:
    """Turns rows of one form into labels with one tokenizer.  Rows have no faults (`forms.fault`)."""

    def __init__(self, rules: RowRules, form: DataFormat, max_length: int, tokens: Tokens) -> None:
        self.rules, self.form, self.max_length, self.tokens = rules, form, max_length, tokens

    def labels(self, rows: Sequence[Row]) -> Iterator[Labelled | Refused]:
        """Ids and labels of each row."""
        pairs = self.pairs(rows)
        made = iter(self._of_pairs([pair for pair in pairs if pair is not None]))
        for row, pair in zip(rows, pairs, strict=True):
            yield self._tried(row) if pair is None else next(made)

    def measure(self, rows: Sequence[Row], pairs: Sequence[Pair | None]) -> list[Measured | Labelled | Refused]:
        """The same in short where a border says all; `pairs` are the rows' texts, None for conversations."""
        plain = [pair for pair in pairs if pair is not None]
        measured = iter(self.tokens.measure(plain, only=self._only))
        return [self._tried(row) if pair is None else next(measured) for row, pair in zip(rows, pairs, strict=True)]

    def pairs(self, rows: Iterable[Row]) -> list[Pair | None]:
        """(prompt, completion) of each row, None for conversations."""
        return [shape.pair(row, self.form, self.rules) for row in rows]

    def text(self, row: Row) -> str:
        """All that a row says, whatever is learnt of it: for comparing tokenizers, not for training."""
        pair = shape.pair(row, self.form, self.rules)
        if pair is not None:
            return "".join(pair)
        return "\n".join(turn["content"] for turn in shape.conversation(row, self.form)[0].messages)

    def cut(self, row: Labelled) -> Labelled:
        """At `max_length`, by `truncation_mode`."""
        kept = slice(-self.max_length, None) if self.rules.truncation_mode == "keep_end" else slice(self.max_length)
        return row if len(row.ids) <= self.max_length else Labelled(row.ids[kept], row.labels[kept])

    def pieces(self, row: Labelled) -> list[Labelled]:
        """As the trainer gets it: cut at `max_length`, or a text under `chunk` in pieces of that length."""
        if not self._is_chunked:
            return [self.cut(row)]
        windows = self.windows(len(row.ids))
        return [Labelled(row.ids[begin:end], row.labels[begin:end]) for begin, end in windows]

    def windows(self, tokens: int) -> list[tuple[int, int]]:
        """(begin, end) of the pieces of a text; the last one has two tokens at least: one alone teaches none."""
        longest, overlap = self.max_length, self.rules.chunk_overlap
        if not self._is_chunked or tokens <= longest:
            return [(0, min(tokens, longest))]
        begins = range(0, tokens - overlap, longest - overlap)
        return [(min(begin, tokens - 2), min(begin + longest, tokens)) for begin in begins]

    @property
    def _is_chunked(self) -> bool:
        return self.rules.chunk and self.form == "text"

    def learnable(self, row: Measured | Labelled) -> int:
        """Tokens that would give a loss if nothing was cut."""
        return count_learnt(row.labels) if isinstance(row, Labelled) else row.tokens - max(row.border, 1)

    def learnt(self, row: Measured | Labelled) -> int:
        """Tokens that give a loss once the row is cut."""
        if isinstance(row, Labelled):
            return count_learnt(self.cut(row).labels)
        cut = max(0, row.tokens - self.max_length) if self.rules.truncation_mode == "keep_end" else 0
        return max(0, min(row.tokens, self.max_length) - max(row.border - cut, 1))

    def typed(self, row: Row, pair: Pair | None) -> str | None:
        """A special token that stands in a text of the row that a template is laid around, or None."""
        if self._typed is None or (pair is not None and self.form != "instruction"):
            return None
        if pair is None:
            texts = [turn["content"] for turn in shape.conversation(row, self.form)[0].messages]
        else:
            texts = [text for column in forms.INSTRUCTION if isinstance(text := row.get(column), str)]
        found = next(
            (found for text in texts if (found := self._typed.search(text.removesuffix(self.tokens.eos)))), None
        )
        return None if found is None else found[0]

    @cached_property
    def _typed(self) -> "re.Pattern[str] | None":
        meant = self.rules.add_tokens
        named = [re.escape(one) for one in self.tokens.specials if one not in meant and not _THINKING.fullmatch(one)]
        return re.compile("|".join(named)) if named else None

    @property
    def _only(self) -> bool:
        return self.form != "text" and self.rules.completion_only is not False

    def _of_pairs(self, pairs: Sequence[Pair]) -> Iterator[Labelled]:
        wholes = self.tokens.encode_many([self.tokens.ended(prompt + completion) for prompt, completion in pairs])
        heads = self.tokens.encode_many([prompt for prompt, _ in pairs]) if self._only else [[]] * len(pairs)
        for ids, head in zip(wholes, heads, strict=True):
            border = common(head, ids)
            yield Labelled(tuple(ids), (IGNORED,) * border + tuple(ids[border:]))

    def _tried(self, row: Row) -> Labelled | Refused:
        talk, first = shape.conversation(row, self.form)
        template = self.tokens.template_for(talk.tools)
        if template is None:
            return Refused("template", "the tokenizer has no chat template")
        made = self._laid_out(template, talk, first)
        others = iter(turns.other_forms(talk))
        while isinstance(made, Refused) and (other := next(others, None)) is not None:
            again = self._laid_out(template, other, first)
            made = made if isinstance(again, Refused) else again
        return made

    def _laid_out(self, template: Template, talk: Conversation, first: int) -> Labelled | Refused:
        only = self.rules.assistant_only if self.form == "messages" else self.rules.completion_only
        try:
            if only is False:
                return self._checked(talk, spans.Spoken(template.render(talk.messages, talk.tools), ()), is_whole=True)
            if first == 0 and template.marked is not None:
                return self._checked(talk, spans.by_marks(template.marked, talk), is_marked=True)
            spoken = spans.by_rendering(template, talk)
        except Unrenderable as error:
            return Refused("template", f"the chat template refuses it: {error}")
        learn = tuple(learn and number >= first for number, learn in enumerate(talk.learn))
        return self._checked(talk._replace(learn=learn), spoken)

    def _checked(
        self, talk: Conversation, spoken: spans.Spoken, *, is_whole: bool = False, is_marked: bool = False
    ) -> Labelled | Refused:
        said = [span for found, learn in zip(spoken.turns, talk.learn, strict=False) if learn for span in found]
        wrong = whole.fault(talk, spoken.text, said, only_assistant=not is_whole)
        if wrong is not None:
            return Refused("incomplete", wrong)
        if is_marked:
            return self._by_marks(spoken.text, said)
        return self._by_end(spoken.text, said, is_whole=is_whole)

    def _by_end(self, text: str, said: Sequence[Span], *, is_whole: bool) -> Labelled:
        """Labels on the tokens that end inside a stretch."""
        found = self.tokens.encode_rendered(text)
        inside = [is_whole or any(begin < end <= limit for begin, limit in said) for _, end in found.offsets]
        return _masked(found.ids, inside)

    def _by_marks(self, text: str, said: Sequence[Span]) -> Labelled:
        """Labels as transformers makes them of `{% generation %}` marks: from a stretch's first token to its last."""
        found = self.tokens.encode_rendered(text)
        inside = [False] * len(found.ids)
        for begin, end in said:
            first, last = found.char_to_token(begin), found.char_to_token(end - 1)
            if first is None:
                break
            stop = last + 1 if last else len(inside)
            inside[first:stop] = [True] * (stop - first)
        return _masked(found.ids, inside)


def count_learnt(labels: Sequence[int]) -> int:
    """Tokens that give a loss."""
    return len(labels[1:]) - labels[1:].count(IGNORED)


def _masked(ids: Sequence[int], inside: Sequence[bool]) -> Labelled:
    return Labelled(tuple(ids), tuple(i if learnt else IGNORED for i, learnt in zip(ids, inside, strict=True)))


def question(
    prompt: str,
    rules: RowRules,
    form: DataFormat,
    tokens: Tokens,
    *,
    is_conversation: bool,
    system: str | None = None,
    before: Sequence[Pair] = (),
) -> str:
    """A prompt as a training row would have had it, up to where the answer begins.  Raises Unrenderable.

    Conversations have a place for a `system` turn and for what was said `before` (prompt and answer, in turn).
    """
    if form == "instruction" and not forms.is_chat(form, rules):
        return forms.split_instruction({"instruction": prompt}, rules.instruction_template)[0]
    if not is_conversation:
        return prompt
    template = tokens.template_for(None)
    if template is None:
        raise Unrenderable("the tokenizer has no chat template")
    said = [("system", system)] if system is not None else []
    said += [turn for asked, answer in before for turn in (("user", asked), ("assistant", answer))]
    said.append(("user", prompt))
    return asking(template, turns.conversation([{"role": role, "content": content} for role, content in said]))


def asking(template: Template, talk: Conversation) -> str:
    """Turns up to where the answer begins, in the first form that the template takes; nothing of them may be gone."""
    refused: Unrenderable | None = None
    for form in (talk, *turns.other_forms(talk)):
        try:
            text = template.render(form.messages, form.tools, ask=True)
        except Unrenderable as error:
            refused = refused or error
            continue
        missing = whole.fault(talk, text, (), only_assistant=False)
        if missing is None:
            return text
        refused = refused or Unrenderable(missing)
    assert refused is not None
    raise refused
