"""The rows of an evaluation as questions: sampled, laid out, with their labels where a loss is wanted."""

import random
from collections.abc import Sequence
from importlib import resources
from typing import Final, NamedTuple

from sftrun.contract.answers import Answer, ModelName, PartName
from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import DataSource, EvaluationSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.ask.asked_rows import asked_row
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import source_rows
from sftrun.job.prepare.source_rows import Rows
from sftrun.rows import shape
from sftrun.rows.labels import IGNORED, Labelled, Labeller, Refused
from sftrun.rows.plain import group_of
from sftrun.rows.template import Unrenderable
from sftrun.rows.tokenizer import Tokens

NEUTRAL: Final = "neutral.txt"
SEED: Final = 0  # which rows `max_examples` takes: the same for every run, so that runs can be compared


class Question(NamedTuple):
    """One row.  `text` of None: it is read, for its loss, and not asked."""

    part: PartName
    number: int
    group: str | None
    shown: str
    expected: str | None
    text: str | None
    has_specials: bool = False
    labelled: Labelled | None = None

    def answer(self, model: ModelName) -> Answer:
        """With everything but the answer."""
        return Answer(
            model=model,
            part=self.part,
            index=self.number,
            group=self.group,
            prompt=self.shown,
            expected=self.expected,
        )


class Reader:
    """Reads rows as the training rows were read: their form, their template, their tokenizer."""

    def __init__(self, rules: RowRules, form: DataFormat, tokens: Tokens, max_length: int) -> None:
        self.rules, self.form, self.tokens, self.max_length = rules, form, tokens, max_length

    def all_of(self, spec: EvaluationSpec) -> list[Question]:
        """Test rows, then general ones, then neutral text."""
        found = self._of_source("test", spec.data, spec)
        if spec.general is not None:
            found += self._of_source("general", spec.general, spec)
        return found + (self._neutral() if spec.reads_neutral else [])

    def _of_source(self, part: PartName, source: DataSource, spec: EvaluationSpec) -> list[Question]:
        rows = source_rows.of_source(source, self.rules.model_copy(update={"format": self.form}))
        chosen = sampled(len(rows), spec.max_examples)
        picked = rows.select(chosen)
        labels = self._labels(picked) if spec.needs_loss or part == "general" or self.form == "text" else None
        return [
            self._question(part, index, picked, at, spec.by, None if labels is None else labels[at])
            for at, index in enumerate(chosen)
        ]

    def _question(
        self, part: PartName, index: int, rows: Rows, at: int, by: str | None, labelled: Labelled | None
    ) -> Question:
        row = rows.rows[at]
        try:
            asked = asked_row(row, self.form, self.rules, self.tokens)
        except Unrenderable as error:
            message = f"{rows.places[at]}: the chat template refuses its question: {error}"
            raise JobFailure("data", message, "mend that row, or set `dataset.chat_template`") from None
        is_talk = shape.is_conversation(row, self.form, self.rules)
        group = group_of(row, by)
        return Question(part, index, group, asked.shown, asked.expected, asked.text, is_talk, labelled)

    def _labels(self, rows: Rows) -> list[Labelled | None]:
        labeller = Labeller(self.rules, self.form, self.max_length, self.tokens)
        found = labeller.labels(rows.rows)
        return [None if isinstance(each, Refused) else labeller.cut(each) for each in found]

    def _neutral(self) -> list[Question]:
        """Paragraphs that ship with the program; every token of them is to be foretold."""
        text = resources.files("sftrun.job.ask").joinpath(NEUTRAL).read_text("utf-8")
        parts = [part.strip() for part in text.split("\n\n") if part.strip()]
        ids = self.tokens.encode_many(parts)
        return [
            Question("neutral", index, None, part, None, None, labelled=Labelled(tuple(each), tuple(each)))
            for index, (part, each) in enumerate(zip(parts, ids, strict=True))
        ]


def sampled(rows: int, most: int | None) -> list[int]:
    """Numbers of the rows that are asked, in rising order."""
    if most is None or most >= rows:
        return list(range(rows))
    return sorted(random.Random(SEED).sample(range(rows), most))


def learnt(row: Labelled) -> int:
    """Labels that give a loss: the first token is foretold by nothing."""
    return sum(label != IGNORED for label in row.labels[1:])


def batches(questions: Sequence[Question], lengths: Sequence[int], most_rows: int) -> list[list[int]]:
    """Places of the questions, those of like length together, the longest first: what can't fit is known at once."""
    order = sorted(range(len(questions)), key=lambda at: (questions[at].text is None, -lengths[at], at))
    found: list[list[int]] = []
    for at in order:
        is_same_kind = found and (questions[found[-1][0]].text is None) == (questions[at].text is None)
        if is_same_kind and len(found[-1]) < most_rows:
            found[-1].append(at)
        else:
            found.append([at])
    return found
