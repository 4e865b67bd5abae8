"""Sources of rows -> files of tokenised rows, mixed and packed: one source at a time, so that memory holds one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sftrun.contract.choices import DataFormat
from sftrun.contract.events import SourceShare
from sftrun.contract.jobspec import DataSource, JobSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import mixing, shards, source_rows
from sftrun.job.prepare.shards import Counts, Crew
from sftrun.job.prepare.source_rows import Rows
from sftrun.rows import shape
from sftrun.rows.labels import Labeller
from sftrun.rows.tokenizer import Tokens
from sftrun.strict import Strict

TEXTS_KEPT = 500
Texts = list[tuple[str, str]]


class Split(Strict):
    """Counts of one split; `first_dropped` is the place of the first row in which nothing is learnt."""

    counts: Counts
    first_dropped: str | None


@dataclass(frozen=True)
class Made:
    """One source's rows, tokenised; `texts` are (place, text) of rows from all over them."""

    name: str
    shards: Sequence[Path]
    split: Split
    form: DataFormat
    are_conversations: bool
    system: str | None
    found_names: tuple[tuple[str, str], ...]
    texts: Texts


class Making:
    """What is made in one folder.  `shares` are of a mix, once it stands."""

    def __init__(self, spec: JobSpec, tokens: Tokens, folder: Path, crew: Crew) -> None:
        self.spec, self.tokens, self.folder, self.crew = spec, tokens, folder, crew
        self.shares: tuple[SourceShare, ...] = ()

    def train(self) -> tuple[list[Made], list[Made]]:
        """Each source's training rows, and what `dataset.eval_fraction` holds out of them."""
        sources, made, held_out = self.spec.dataset.train, list[Made](), list[Made]()
        for number, source in enumerate(sources):
            end = str(number) if len(sources) > 1 else ""
            rows = source_rows.of_source(source, self.spec.rows, self.folder)
            kept, rest = source_rows.held_out(rows, self.spec.dataset, self.spec.trainer.seed)
            del rows
            made.append(self._tokenised(source, kept, f"train{end}"))
            if rest is not None:
                held_out.append(self._tokenised(source, rest, f"eval{end}"))
        return made, held_out

    def evaluation(self, trained: Sequence[Made]) -> dict[str, list[Made]]:
        """Each set of validation rows; one beside one source of training rows has their form."""
        rules: RowRules = self.spec.rows
        if len(trained) == 1:
            rules = rules.model_copy(update={"format": trained[0].form})
        return {
            name: [self._tokenised(source, source_rows.of_source(source, rules, self.folder), f"eval{number}")]
            for number, (name, source) in enumerate(self.spec.dataset.eval.items())
        }

    def mix(self, made: Sequence[Made]) -> Split:
        """`train.arrow` of all sources by their weights."""
        sources = self.spec.dataset.train
        weights = [source.weight for source in sources]
        if weights == [1.0]:
            return self.join(made, "train.arrow")
        counts = [one.split.counts.rows for one in made]
        mix = mixing.parts([one.shards for one in made], counts, weights, self.spec.trainer.seed)
        whole = self.folder / "train-mixed.arrow"
        shards.write(whole, shards.SCHEMA, mixing.batches(mix, spread=self.spec.dataset.shuffle))
        self._finish([whole], "train.arrow")
        taken = sum(part.taken for part in mix)
        self.shares = tuple(
            SourceShare(name=one.name, rows=part.taken, tokens=part.tokens, share=round(part.taken / taken, 4))
            for one, part in zip(made, mix, strict=True)
        )
        return _mixed(made, mix)

    def join(self, made: Sequence[Made], name: str) -> Split:
        """One file of rows as they stand, packed where that is wanted."""
        self._finish([path for one in made for path in one.shards], name)
        counts = sum((one.split.counts for one in made), Counts())
        return Split(counts=counts, first_dropped=_first_dropped(made))

    def _finish(self, paths: Sequence[Path], name: str) -> None:
        target = self.folder / name
        if self.spec.step.packed_by == "sftrun":
            whole = target.with_name(f"{target.stem}-rows.arrow")
            if len(paths) > 1:
                shards.join(paths, whole)
            paths = shards.pack(whole if len(paths) > 1 else paths[0], self.spec, self._packed(target), self.crew)
        shards.join(paths, target)

    def _packed(self, target: Path) -> Path:
        return target.with_name(f"{target.stem}-packed")

    def _tokenised(self, source: DataSource, rows: Rows, stem: str) -> Made:
        labeller = Labeller(rows.rules, rows.form, self.spec.trainer.max_length, self.tokens)
        _require_template(rows, labeller)
        paths, counts = shards.tokenise(rows, labeller, self.folder / stem, self.crew)
        if not counts.rows:
            raise _nothing_to_learn(rows, self.spec.trainer.max_length)
        first = None if counts.first_dropped is None else rows.places[counts.first_dropped]
        return Made(
            name=_plain_name(source),
            shards=paths,
            split=Split(counts=counts, first_dropped=first),
            form=rows.form,
            are_conversations=_are_conversations(rows),
            system=_system(rows),
            found_names=rows.found_names,
            texts=_texts(rows, labeller),
        )


def _plain_name(source: DataSource) -> str:
    """An uploaded file lies under its hash, which says nothing."""
    return re.sub(r"^[0-9a-f]{16,64}[-_.]", "", source.name)


def _first_dropped(made: Sequence[Made]) -> str | None:
    return next((one.split.first_dropped for one in made if one.split.first_dropped is not None), None)


def _mixed(made: Sequence[Made], mix: Sequence[mixing.Part]) -> Split:
    """Counts of the mix: rows as often as they are taken, and what is left out or cut once."""
    whole = sum((one.split.counts for one in made), Counts())
    taken = sum(part.taken for part in mix)
    counts = whole.model_copy(
        update={
            "given": taken + whole.given - whole.rows,
            "rows": taken,
            "tokens": sum(part.tokens for part in mix),
            "learnt_tokens": sum(part.learnt for part in mix),
        }
    )
    return Split(counts=counts, first_dropped=_first_dropped(made))


def _require_template(rows: Rows, labeller: Labeller) -> None:
    if _are_conversations(rows) and labeller.tokens.template_for(None) is None:
        raise JobFailure(
            "data",
            "the rows are conversations and the model's tokenizer has no chat template",
            "use a model that has one (often named Instruct), or set `dataset.chat_template`",
        )


def _are_conversations(rows: Rows) -> bool:
    return shape.is_conversation(rows.rows[0], rows.form, rows.rules)


def _system(rows: Rows) -> str | None:
    """The system turn that all rows begin with; None where one has none, or another."""
    if not _are_conversations(rows):
        return None
    found = (shape.system(row, rows.form) for row in rows.rows)
    first = next(found)
    return first if all(each == first for each in found) else None


def _texts(rows: Rows, labeller: Labeller) -> Texts:
    """(place, text) of rows from all over the data."""
    step = -(-len(rows) // TEXTS_KEPT)
    return [(rows.places[number], labeller.text(rows.rows[number])) for number in range(0, len(rows), step)]


def _nothing_to_learn(rows: Rows, longest: int) -> JobFailure:
    message = (
        f"none of the {len(rows)} rows has anything to learn from: every label is masked (the first: {rows.places[0]})"
    )
    return JobFailure(
        "data",
        message,
        f"raise `trainer.max_length` ({longest}) if prompts fill it, or see that completions are not empty",
    )
