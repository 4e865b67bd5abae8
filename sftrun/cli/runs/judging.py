"""What `sftrun evaluate` does: ask what is not answered yet, judge all answers, show the verdict."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import click

from sftrun.cli.runs.watching import open_run
from sftrun.contract.answers import Answer, Begun
from sftrun.contract.choices import MetricName
from sftrun.contract.jobspec import DataSource, EvaluationSpec, JobSpec
from sftrun.disk import outside
from sftrun.disk.commands import translated
from sftrun.disk.flock import exclusive
from sftrun.errors import SftrunError, UsageError
from sftrun.evaluate.metrics import EXTRA, METRICS, Rules, missing
from sftrun.recipe.check.evaluation import fault
from sftrun.report import verdicts
from sftrun.report.show import figures
from sftrun.report.show.verdict_words import power_words
from sftrun.rows.plain import group_of
from sftrun.rows.raw import find
from sftrun.rows.raw.broken import Broken
from sftrun.rows.raw.read import whole
from sftrun.run.backend import Backend
from sftrun.run.evaluations import RECIPE, GateOrder, Order, Store, key_of, of_recipe
from sftrun.run.execute import must_own_output
from sftrun.run.ledger import RunFolder

SAY_EVERY = 0.1  # of the answers, where nobody watches a bar


class Wanted(NamedTuple):
    """The command line."""

    data: str | None
    metrics: tuple[str, ...]
    by: str | None
    max_examples: int | None
    general: str | None
    neutral_text: bool
    tolerance: float | None
    pattern: str | None
    json_schema: Path | None
    max_new_tokens: int | None
    temperature: float | None
    gate: tuple[str, float] | None

    @property
    def asks_anew(self) -> bool:
        """Whether other answers are wanted than those of the recipe's own evaluation."""
        others = (self.data, self.max_examples, self.general, self.max_new_tokens, self.temperature)
        return any(value is not None for value in others) or self.neutral_text


def evaluate(name: str, wanted: Wanted, *, form: str, worst: int) -> int:
    """Ask, judge, show; returns the exit code."""
    folder, backend = open_run(name)
    order, key = _order(folder, wanted)
    store = Store(folder, key)
    job = folder.job().model_copy(update={"evaluation": order.asked})
    with exclusive(store.path / "lock", _say_waiting):
        _ask(store, backend, job, needs_loss=order.asked.needs_loss)
        found = verdicts.judged(order, _grouped(order, store.answers()))
        store.write(order, found.verdict)
    _show(found, folder, form, worst)
    verdicts.require_gain(found, folder.id)
    return 0


def _order(folder: RunFolder, wanted: Wanted) -> tuple[Order, str]:
    """What is asked and how it is judged: the recipe's `evaluation`, changed by what stands on the command line."""
    own = of_recipe(folder)
    if own is None and wanted.data is None:
        raise UsageError(f"the recipe of run {folder.id} has no `evaluation`", help="name test rows: --data FILE")
    base = own or Order(data="", asked=EvaluationSpec(data=DataSource()), metrics=("exact_match",))
    told: dict[str, object] = {name: getattr(wanted, name) for name in ("tolerance", "pattern", "by")}
    told["metrics"] = cast(tuple[MetricName, ...], wanted.metrics) or None
    told["json_schema"] = None if wanted.json_schema is None else _schema(wanted.json_schema)
    told["gate"] = None if wanted.gate is None else _gate(*wanted.gate)
    told["data"] = wanted.data
    order = base.model_copy(update={name: value for name, value in told.items() if value is not None})
    _require_whole(order)
    asked = _asked(folder, order, wanted)
    key = key_of(asked, _contents(asked)) if wanted.asks_anew or own is None else RECIPE
    return order.model_copy(update={"asked": asked}), key


def _asked(folder: RunFolder, order: Order, wanted: Wanted) -> EvaluationSpec:
    told: dict[str, object] = {
        name: getattr(wanted, name) for name in ("max_examples", "max_new_tokens", "temperature")
    }
    told["data"] = None if wanted.data is None else _source(wanted.data)
    told["general"] = None if wanted.general is None else _source(wanted.general)
    told["reads_neutral"] = wanted.neutral_text or None
    told["by"] = wanted.by
    changes = {name: value for name, value in told.items() if value is not None}
    if wanted.data is not None and order.asked.max_new_tokens == EvaluationSpec.model_fields["max_new_tokens"].default:
        changes.setdefault("max_new_tokens", max(folder.job().samples.max_new_tokens, 128))
    needs_loss = any(METRICS[name].needs_loss for name in order.metrics)
    return order.asked.model_copy(update={**changes, "needs_loss": needs_loss})


def _gate(metric: str, min_gain: float) -> GateOrder:
    return GateOrder.model_validate({"metric": metric, "min_gain": min_gain})


def _require_whole(order: Order) -> None:
    """As the recipe's own check has it: a metric lacks nothing, and a gate is computed."""
    if "regex" in order.metrics and order.pattern is None:
        raise UsageError("`regex` looks for a pattern, and there is none", help="add --pattern '^I can only help', say")
    if order.pattern is not None and (wrong := fault(order.pattern)) is not None:
        raise UsageError(f"`{order.pattern}` is no regular expression: {wrong}", help="write one of Python's `re`")
    if order.gate is not None and order.gate.metric not in order.metrics:
        names = ",".join((*order.metrics, order.gate.metric))
        raise UsageError(f"the gate's `{order.gate.metric}` is none of the metrics", help=f"add --metrics {names}")
    schema = None if order.json_schema is None else outside.parse(order.json_schema)
    lacking = missing(order.metrics, Rules(json_schema=schema))
    if lacking:
        click.echo(f"warning: without {', '.join(lacking)} some metrics are left out: {EXTRA}", err=True)


def _source(named: str) -> DataSource:
    paths = find.find(named, Path.cwd())
    if not paths:
        raise UsageError(f"no rows at `{named}`", help=f"name a file, folder or glob of {', '.join(find.SUFFIXES)}")
    return DataSource(files=tuple(str(path) for path in paths))


def _contents(asked: EvaluationSpec) -> list[str]:
    sources = [source for source in (asked.data, asked.general) if source is not None]
    with translated("read", Path(asked.data.files[0] if asked.data.files else ".")):
        return [find.sha256(Path(file)) for source in sources for file in source.files]


def _schema(file: Path) -> str:
    try:
        with translated("read", file):
            outside.read_object(file)
            return file.read_text("utf-8")
    except outside.Damaged as error:
        raise UsageError(f"`{file}` is no JSON Schema: it {error}", help="name a file with a JSON Schema") from None


def _ask(store: Store, backend: Backend, job: JobSpec, *, needs_loss: bool) -> None:
    """Ask what is missing; a run whose every row is answered needs no model."""
    if store.is_whole(needs_loss=needs_loss):
        return
    must_own_output(store.run, backend, help="`sftrun apply` its recipe to its end first")
    said = backend.evaluate(store.run, job, store.done(needs_loss=needs_loss))
    begun = next(said)
    assert isinstance(begun, Begun)
    click.echo(power_words(begun.test_rows), err=True)
    rows = begun.rows
    before = len(store.answers())
    with _progress(2 * rows) as tell:
        try:
            heard = (answer for answer in said if isinstance(answer, Answer))
            for number, _ in enumerate(store.keep(heard), before + 1):
                tell(number)
        except KeyboardInterrupt:
            kept = f"{len(store.answers()):,} of {2 * rows:,} answers are kept; the same command goes on"
            click.echo(f"\n{kept}", err=True)
            raise
    store.mark_whole(needs_loss=needs_loss)


@contextmanager
def _progress(whole: int) -> "Iterator[_Progress]":
    shown = _Progress(whole)
    yield shown
    shown.end()


class _Progress:
    """Answers so far and the time left: a line that is written over on a terminal, few lines elsewhere."""

    def __init__(self, whole: int) -> None:
        self.whole, self.began, self.first = whole, time.monotonic(), -1
        self.is_terminal, self.said = sys.stderr.isatty(), 0.0

    def __call__(self, done: int) -> None:
        self.first = done - 1 if self.first < 0 else self.first
        if not self.is_terminal and done < self.whole and done / self.whole - self.said < SAY_EVERY:
            return
        self.said = done / self.whole
        spent = time.monotonic() - self.began
        left = spent / (done - self.first) * (self.whole - done)
        text = f"{done:,} of {self.whole:,} answers, {figures.clock(left)} to go"
        sys.stderr.write(f"\r{text}\x1b[K" if self.is_terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self.is_terminal and self.first >= 0:
            sys.stderr.write("\r\x1b[K")


def _grouped(order: Order, answers: list[Answer]) -> list[Answer]:
    """With the groups of the column that is asked for now: it decides no answer, so nothing is asked again for it."""
    files = order.asked.data.files
    if order.by is None or not files or not all(Path(file).is_file() for file in files):
        return answers
    rows = [row for file in files for _, row in whole(Path(file)) if row is not None]
    groups = [None if isinstance(row, Broken) else group_of(row, order.by) for row in rows]
    if not any(groups):
        first = next((row for row in rows if not isinstance(row, Broken)), {})
        raise SftrunError(f"no column `{order.by}` in `{order.data}`", help=f"name one of {', '.join(first)}")
    return [
        answer.model_copy(update={"group": groups[answer.index]})
        if answer.part == "test" and answer.index < len(groups)
        else answer
        for answer in answers
    ]


def _show(found: verdicts.Judged, folder: RunFolder, form: str, worst: int) -> None:
    if form == "json":
        click.echo(found.model_dump_json(indent=2))
        return
    from sftrun.report.show.terminal_tables import console
    from sftrun.report.show.terminal_verdict import screen

    console(sys.stdout).print(screen(found, most_rows=worst))


def _say_waiting(who: object) -> None:
    click.echo("waiting: another process is at this evaluation", err=True)
