"""What a run's models have answered: in its record, and of `sftrun evaluate` in files beside it.

    runs/<id>/evaluations/<key>/order.json      what was asked, and what it is judged by
                                answers.jsonl   one answer a line, appended as they come
                                verdict.json    the judgement, made anew from the answers each time

The key is a hash of what decides an answer, so that other metrics ask nothing again.  The recipe's own has the key
`recipe`: what its job has answered stands in the events, and only what that left open in the file.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from sftrun.contract.answers import ANSWERS, Answer, ModelName, PartName
from sftrun.contract.choices import MetricName
from sftrun.contract.events import Answered, Asking
from sftrun.contract.jobspec import EvaluationSpec
from sftrun.disk import outside
from sftrun.disk.commands import make_folder, translated, write_file
from sftrun.evaluate.verdict import Evaluation
from sftrun.plan.types import Plan
from sftrun.run.ledger import RunFolder
from sftrun.run.tail import Tail
from sftrun.strict import Strict

FOLDER: Final = "evaluations"
RECIPE: Final = "recipe"


class GateOrder(Strict):
    """What must be gained."""

    metric: MetricName
    min_gain: float = 0.0


class Order(Strict):
    """What was asked, and what it is judged by."""

    version: Literal[1] = 1
    data: str
    asked: EvaluationSpec
    metrics: tuple[MetricName, ...]
    by: str | None = None
    tolerance: float = 0.0
    pattern: str | None = None
    json_schema: str | None = None
    gate: GateOrder | None = None


@dataclass(frozen=True)
class Store:
    """The answers of one evaluation of a run."""

    run: RunFolder
    key: str

    @property
    def path(self) -> Path:
        return self.run.path / FOLDER / self.key

    @property
    def answers_file(self) -> Path:
        return self.path / ANSWERS

    def answers(self) -> list[Answer]:
        """All of them, each once: the last word of each model on each row."""
        found = {answer.key: answer for answer in (*self._recorded(), *read(self.answers_file))}
        return list(found.values())

    def done(self, *, needs_loss: bool) -> dict[ModelName, tuple[tuple[PartName, int], ...]]:
        """What need not be asked again."""
        found: dict[ModelName, list[tuple[PartName, int]]] = {"base": [], "tuned": []}
        for answer in self.answers():
            if answer.loss is not None or not needs_loss or answer.part != "test":
                found[answer.model].append((answer.part, answer.index))
        return {name: tuple(keys) for name, keys in found.items()}

    def keep(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Append each as it comes; what a killed writer left torn at the end is cut away first."""
        make_folder(self.path)
        with translated("write", self.answers_file), self.answers_file.open("ab") as file:
            os.truncate(self.answers_file, _whole_bytes(self.answers_file))
            for answer in answers:
                file.write(answer.model_dump_json().encode() + b"\n")
                file.flush()
                yield answer

    def is_whole(self, *, needs_loss: bool) -> bool:
        """Whether an earlier command has heard all that there is to be asked."""
        marks = ("whole-with-loss",) if needs_loss else ("whole-with-loss", "whole")
        return any((self.path / mark).exists() for mark in marks) or self._is_recorded_whole(needs_loss)

    def mark_whole(self, *, needs_loss: bool) -> None:
        make_folder(self.path)
        write_file(self.path / f"whole{'-with-loss' * needs_loss}", "")

    def order(self) -> Order | None:
        """As it was written; the recipe's own of a run that `evaluate` never saw."""
        if (self.path / "order.json").exists():
            return self.run.load(f"{FOLDER}/{self.key}/order.json", Order)
        return of_recipe(self.run) if self.key == RECIPE else None

    def write(self, order: Order, verdict: Evaluation) -> None:
        make_folder(self.path)
        write_file(self.path / "order.json", order.model_dump_json(indent=1) + "\n")
        write_file(self.path / "verdict.json", verdict.model_dump_json(indent=1) + "\n")

    def _is_recorded_whole(self, needs_loss: bool) -> bool:
        """Whether the run's own job has heard all."""
        if self.key != RECIPE:
            return False
        rows = [event.rows for event in Tail(self.run.events).read() if isinstance(event, Asking)]
        return bool(rows) and all(len(keys) >= rows[-1] for keys in self.done(needs_loss=needs_loss).values())

    def _recorded(self) -> Iterator[Answer]:
        if self.key == RECIPE:
            yield from (event.answer for event in Tail(self.run.events).read() if isinstance(event, Answered))


def read(file: Path) -> Iterator[Answer]:
    """The whole lines of a file of answers; one that is none of ours is passed over."""
    if not file.exists():
        return
    with translated("read", file), file.open("rb") as lines:
        for line in lines:
            try:
                yield outside.parse_model(Answer, line)
            except (outside.Damaged, ValidationError):
                continue


def key_of(spec: EvaluationSpec, contents: Sequence[str]) -> str:
    """By what decides an answer: the rows' content and how they are asked; not where the files lie."""
    told = spec.model_dump(mode="json", exclude={"data", "general", "by", "needs_loss"})
    sources = [source.model_dump(mode="json", exclude={"files"}) for source in (spec.data, spec.general) if source]
    text = json.dumps([told, sources, list(contents)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def of_recipe(run: RunFolder) -> Order | None:
    """What the recipe's `evaluation` asks and judges; None where it has none."""
    return of_plan(run.plan(), run.job().evaluation)


def of_plan(plan: Plan, asked: EvaluationSpec | None) -> Order | None:
    """The same of a plan."""
    wanted, found = plan.recipe.evaluation, plan.evaluation
    if wanted is None or found is None or asked is None:
        return None
    return Order(
        data=wanted.data.path or wanted.data.hub or "",
        asked=asked,
        metrics=wanted.metrics,
        by=wanted.by,
        tolerance=wanted.tolerance,
        pattern=wanted.pattern,
        json_schema=found.json_schema,
        gate=None if wanted.gate is None else GateOrder(metric=wanted.gate.metric, min_gain=wanted.gate.min_gain),
    )


def latest(run: RunFolder) -> Store | None:
    """The recipe's own where it was asked; else the one that was judged last."""
    own = Store(run, RECIPE)
    if of_recipe(run) is not None:
        return own
    folder = run.path / FOLDER
    found = list(folder.glob("*/verdict.json")) if folder.exists() else []
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return None if newest is None else Store(run, newest.parent.name)


def _whole_bytes(file: Path) -> int:
    """Up to the last line that has its end."""
    data = file.read_bytes()
    return data.rfind(b"\n") + 1
