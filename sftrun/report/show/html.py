"""A run's report as one HTML file that stands alone: forwarded by mail, it opens anywhere and asks for nothing.

Everything that comes from outside (prompts, answers, names, messages) is escaped; there is no script at all.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from html import escape
from importlib import resources
from statistics import median
from string import Template
from typing import Any

from sftrun.contract.events import AnyEvent, Step
from sftrun.plan.types import Plan
from sftrun.report.show import figures, html_verdict
from sftrun.report.show.chart import line_chart, thinned
from sftrun.report.show.progress import stage_words, stop_words
from sftrun.report.summary import Report, error_percent, eval_facts, money_facts, source_facts

LONG_VALUE = 40
RISEN = 0.99  # of the last held-out loss: what is below was a better model
MOST_ROWS = 5000
_NAMES = {
    "seconds": "time",
    "seconds_per_step": "a steady step",
    "first_steps_seconds": "first steps, more",
    "memory_gb": "memory",
    "usd": "money",
}


@dataclass(frozen=True)
class Curves:
    """What was logged, by step."""

    loss: tuple[tuple[float, float], ...] = ()
    learning_rate: tuple[tuple[float, float], ...] = ()
    tokens_per_second: tuple[tuple[float, float], ...] = ()
    memory_gb: tuple[tuple[float, float], ...] = ()


def curves(events: Iterable[AnyEvent]) -> Curves:
    """The curves of a run; a step that was done twice, by two attempts, counts as it was done last."""
    last: dict[int, Step] = {}
    for event in events:
        if isinstance(event, Step):
            last = {k: v for k, v in last.items() if k < event.step} if event.step in last else last
            last[event.step] = event
    steps = [last[number] for number in sorted(last)]
    return Curves(
        loss=tuple((s.step, s.loss) for s in steps),
        learning_rate=tuple((s.step, s.learning_rate) for s in steps),
        tokens_per_second=tuple((s.step, s.tokens_per_second) for s in steps if s.tokens_per_second),
        memory_gb=tuple((s.step, s.memory_gb) for s in steps if s.memory_gb),
    )


def page(report: Report, plan: Plan, drawn: Curves) -> str:
    """The whole page."""
    template = resources.files("sftrun.report.show").joinpath("page.html").read_text("utf-8")
    gpus = f"{report.gpu_count} × " if report.gpu_count > 1 else ""
    where = f" on {gpus}{report.device}" if report.device else ""
    tries = f", {report.attempts} attempts" if report.attempts > 1 else ""
    return Template(template).substitute(
        title=_text(f"{report.name}, run {report.run_id}"),
        name=_text(report.name),
        run_id=_text(report.run_id),
        status=_text(report.status),
        verdict=_verdict(report),
        description=f"<p>{_text(plan.recipe.description)}</p>" if plan.recipe.description else "",
        where=_text(f"{where}{tries}, {report.model}"),
        facts="".join(_fact(name, value) for name, value in sorted(_facts(report, drawn), key=_is_long)),
        failure=_failure(report),
        charts=_charts(report, drawn) or '<p class="soft">no step was logged yet</p>',
        estimates=_estimates(report, plan),
        stages=_stages(report, plan),
        samples=html_verdict.section(report.evaluation) + _samples(report),
        settings="".join(_row((key, value), "") for key, value in settings(plan)),
        csv=_csv(report, drawn),
        recipe=_text(resolved(plan)),
        decisions="".join(_row((d.at, d.value), d.reason) for d in plan.decisions),
        versions=_text("\n".join(f"{k} {v}" for k, v in (report.versions or plan.lock).items())),
        notes=_notes(report.notes),
    )


def settings(plan: Plan) -> Iterable[tuple[str, str]]:
    """Keys and values of what decides the result, as resolved; what is absent is left out."""
    wanted = {"model", "quantization", "lora", "rows", "trainer"}
    return leaves(plan.model_dump(mode="json", include=wanted, exclude_none=True))


def leaves(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys with their values in words."""
    for key, value in table.items():
        path = f"{at}.{key}" if at else key
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def resolved(plan: Plan) -> str:
    """The plan's settings, without what is only about this machine."""
    wanted = {"model", "quantization", "lora", "dataset", "trainer", "step", "samples", "compute"}
    return json.dumps(plan.model_dump(mode="json", include=wanted), indent=2, ensure_ascii=False)


def _verdict(report: Report) -> str:
    """What came of it, in a sentence or two, before all figures."""
    took = figures.duration(report.seconds)
    cost = f" and {figures.dollars(report.spent_usd)}" if report.spent_usd else ""
    said = [f"{report.status.capitalize()} after {took}{cost}."]
    if len(report.evals) > 1:
        first, last = report.evals[0], report.evals[-1]
        best = min(report.evals, key=lambda point: point.loss)
        said.append(f"Held-out loss {figures.loss(first.loss)} → {figures.loss(last.loss)}.")
        if best.loss < last.loss * RISEN:
            said.append(f"It was lower at step {best.step:,}: {figures.loss(best.loss)}. It has learnt too long.")
    elif report.evals:
        said.append(f"Held-out loss {figures.loss(report.evals[0].loss)}; before training it was not measured.")
    elif report.status == "finished":
        said.append("No rows were held out, so that nothing says how well it does on others.")
    return f'<p class="verdict">{_text(" ".join(said))}</p>'


def _csv(report: Report, drawn: Curves) -> str:
    """The curves as a file within the page, by step."""
    columns = {"loss": drawn.loss, "learning_rate": drawn.learning_rate}
    columns |= {"tokens_per_second": drawn.tokens_per_second, "memory_gb": drawn.memory_gb}
    columns |= {"eval_loss": tuple((float(point.step), point.loss) for point in report.evals)}
    by_step = [dict(points) for points in columns.values()]
    steps = thinned(sorted(set().union(*by_step)), MOST_ROWS)
    if not steps:
        return ""
    lines = [",".join(("step", *columns))]
    lines += [",".join((f"{step:g}", *(f"{one[step]:g}" if step in one else "" for one in by_step))) for step in steps]
    data = base64.b64encode("\n".join((*lines, "")).encode()).decode()
    name = escape(f"{report.name}-{report.run_id}.csv", quote=True)
    return f'<p><a download="{name}" href="data:text/csv;base64,{data}">the curves as CSV</a></p>'


def _is_long(fact: tuple[str, str]) -> bool:
    return len(fact[1]) > LONG_VALUE


def _fact(name: str, value: str) -> str:
    """One card; a long value (a path, a bill) has a whole row, below the others."""
    row = ' class="row"' if _is_long((name, value)) else ""
    return f"<div{row}><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"


def _facts(report: Report, drawn: Curves) -> Iterable[tuple[str, str]]:
    if report.began_at is not None:
        yield "began", figures.minute(report.began_at)
    yield "time", figures.duration(report.seconds)
    yield from money_facts(report)
    if report.adapter is not None:
        yield "goes on from", report.adapter
    if report.total_steps:
        yield "steps", f"{report.step:,} of {report.total_steps:,}"
    if report.loss_first is not None and report.loss_last is not None:
        yield "loss", f"{figures.loss(report.loss_first)} → {figures.loss(report.loss_last)}"
    yield from source_facts(report)
    yield from eval_facts(report)
    if drawn.tokens_per_second:
        yield "speed, median", f"{median(value for _, value in drawn.tokens_per_second):,.0f} tokens/s"
    if report.data_wait_share is not None:
        yield "waited for data", f"{100 * report.data_wait_share:.1f} % of the steps' time"
    if report.memory_gb:
        yield "memory, at most", f"{report.memory_gb:.2f} GB"
    if report.trainable_parameters and report.parameters:
        part = figures.share(report.trainable_parameters, report.parameters)
        yield "trained", f"{report.trainable_parameters:,} parameters ({part})"
    if report.rows is not None:
        yield "rows", f"{report.rows:,}, {report.tokens or 0:,} tokens"
    yield "adapter" if report.status == "finished" else "output", report.output_dir


def _charts(report: Report, drawn: Curves) -> str:
    evals = [(float(p.step), p.loss) for p in report.evals]
    return "".join(
        (
            line_chart("loss", drawn.loss, second=evals, second_name="eval", may_be_log=True),
            line_chart("learning rate", drawn.learning_rate),
            line_chart("speed", drawn.tokens_per_second, "tokens/s"),
            line_chart("memory", drawn.memory_gb, "GB at most"),
        )
    )


def _estimates(report: Report, plan: Plan) -> str:
    if not report.estimates:
        return ""
    basis = {"memory_gb": plan.memory.basis if plan.memory else ""}
    head = "<tr><th></th><th>estimated</th><th>was</th><th>error</th><th></th></tr>"
    rows = []
    for one in report.estimates:
        form, error = partial(_amount, one.what), error_percent(one)
        cells = (
            _NAMES[one.what],
            one.estimated(form),
            form(one.actual),
            "" if error is None else f"{error:+.0f}\u00a0%",
        )
        rows.append(_row(cells, basis.get(one.what) or (plan.cost.basis if plan.cost else "")))
    means = '<p class="soft">error: the likely figure of the estimate against what was; + is estimated too high</p>'
    return _section("Estimate and fact", f'<div class="wide"><table>{head}{"".join(rows)}</table></div>{means}')


def _amount(what: str, value: float) -> str:
    if what in ("seconds", "first_steps_seconds"):
        return figures.duration(value)
    if what == "usd":
        return figures.dollars(Decimal(str(value)))
    return f"{value:.3g} s" if what == "seconds_per_step" else f"{value:.2f} GB"


def _stages(report: Report, plan: Plan) -> str:
    if not report.stages:
        return ""
    planned = {stage.name: stage for stage in plan.cost.stages} if plan.cost else {}
    rows = []
    for stage in report.stages:
        guess = planned.get(stage.name)
        cells = [stage_words(stage.name), figures.duration(stage.seconds)]
        if planned:
            cells.append(f"{figures.duration(guess.low)} to {figures.duration(guess.high)}" if guess else "")
        rows.append(_row(cells, guess.basis if guess else ""))
    head = f"<tr><th>stage</th><th>was</th>{'<th>estimated</th>' if planned else ''}<th></th></tr>"
    return _section("Time by stage", f'<div class="wide"><table>{head}{"".join(rows)}</table></div>')


def _samples(report: Report) -> str:
    parts = []
    for one in report.samples:
        before, after = ("not asked" if said is None else said for said in (one.before, one.after))
        parts.append(
            f'<p class="asked"><span class="soft">prompt:</span> <strong>{_text(one.prompt)}</strong></p>'
            '<div class="answers">'
            f'<div><span class="soft">base</span><pre>{_text(before)}</pre></div>'
            f'<div><span class="soft">tuned</span><pre>{_text(after)}</pre></div></div>'
        )
    return _section("Before and after", "".join(parts)) if parts else ""


def _failure(report: Report) -> str:
    if report.failure is None:
        return f"<p>stopped: {_text(stop_words(report.stop_reason))}</p>" if report.stop_reason else ""
    tail = "\n".join(report.failure.tail)
    said = f"failed while {stage_words(report.failure.stage)}: {report.failure.message}"
    help = f"<p>help: {_text(report.failure.help)}</p>" if report.failure.help else ""
    return f'<p class="bad">{_text(said)}</p>{help}' + (f"<pre>{_text(tail)}</pre>" if tail else "")


def _notes(notes: Sequence[str]) -> str:
    return _section("Notes", "".join(f"<p>{_text(note)}</p>" for note in notes)) if notes else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{content}</section>"


def _row(cells: Iterable[str], basis: str) -> str:
    return f'<tr>{"".join(f"<td>{_text(cell)}</td>" for cell in cells)}<td class="basis">{_text(basis)}</td></tr>'


def _text(text: str) -> str:
    return escape(figures.printable(text), quote=True)
