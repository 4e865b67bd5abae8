"""Tables for people: a run at its end, the list of runs, the plan.  rich is here and in `terminal` alone.

Text that comes from outside (prompts, answers, names) is set as `Text`, never as markup, and cleaned of control
characters: a model's answer must not be able to move the cursor.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import IO, cast

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sftrun.contract.executors import executor
from sftrun.plan.types import Plan
from sftrun.report.show import figures
from sftrun.report.show.progress import is_plain, stage_words, stop_words
from sftrun.report.show.terminal import sparkline
from sftrun.report.summary import Failure, Report, error_percent, eval_facts, money_facts, source_facts
from sftrun.run.listing import Row

_STYLES = {
    "finished": "green",
    "running": "cyan",
    "starting": "cyan",
    "stopped": "yellow",
    "failed": "red",
    "lost": "red",
    "damaged": "red",
}
_PLAIN_WIDTH = 100
WAITING_WORTH_SAYING = 0.01
_TRAILING = re.compile(r"[ \t]+(?=\n)")


def console(out: IO[str]) -> Console:
    """A console for `out`; without one escape code where nobody wants them."""
    if is_plain(out):
        width = int(os.environ.get("COLUMNS", "0") or 0) or (None if out.isatty() else _PLAIN_WIDTH)
        trimmed = cast(IO[str], Trimmed(out))
        return Console(file=trimmed, width=width, highlight=False, color_system=None, force_terminal=False)
    return Console(file=out, highlight=False)


class Trimmed:
    """A stream without the spaces that tables leave at the ends of lines: they go into files and diffs here."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(_TRAILING.sub("", text))

    def flush(self) -> None:
        self._out.flush()


def run_summary(report: Report, *, with_help: bool = True) -> RenderableType:
    """All that matters of a run: figures, time by stage, estimates beside facts, samples side by side.

    Without help where an error follows that says it.
    """
    parts: list[RenderableType] = [_headline(report), _inset(_figures(report), above=0)]
    if report.stages:
        parts.append(_inset(_stages(report)))
    if report.estimates:
        parts.append(_inset(_estimates(report)))
    if any(sample.before or sample.after for sample in report.samples):
        parts.append(side_by_side((s.prompt, s.before, s.after) for s in report.samples))
    if report.evaluation is not None:
        from sftrun.report.show.terminal_verdict import screen

        parts += [Text(""), screen(report.evaluation)]
    if report.failure is not None:
        parts.append(_failure(report.failure, with_help=with_help))
    return Group(*parts)


def side_by_side(answers: Iterable[tuple[str, str | None, str | None]]) -> RenderableType:
    """Prompts with the answers of the base and the tuned model."""
    parts: list[RenderableType] = []
    for prompt, before, after in answers:
        table = Table(box=box.SIMPLE_HEAD, expand=True, show_edge=False, pad_edge=False)
        table.add_column("base", ratio=1, overflow="fold", header_style="bold dim")
        table.add_column("tuned", ratio=1, overflow="fold", header_style="bold green")
        table.add_row(_said(before), _said(after))
        asked = Text("prompt: ", style="dim").append(figures.printable(prompt), style="bold")
        parts.append(Padding(Group(asked, table), (1, 0, 0, 2)))
    return Group(*parts)


def runs_table(rows: Sequence[Row], now: float) -> RenderableType:
    """One line a run."""
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in ("run", "name", "status"):
        table.add_column(column, no_wrap=column != "name")
    for column in ("age", "steps", "loss"):
        table.add_column(column, justify="right", no_wrap=True)
    costs = any(executor(row.executor).rents for row in rows)
    if costs:
        table.add_column("spent", justify="right", no_wrap=True)
    # like the name it gives way in a narrow terminal: a column may shrink, its text may not wrap
    table.add_column("model")
    for row in rows:
        table.add_row(
            row.id,
            Text(figures.printable(row.name), no_wrap=True, overflow="ellipsis"),
            Text(row.status, style=_STYLES.get(row.status, "")),
            _short_age(now - row.created) if row.created else "",
            f"{row.step}/{row.total_steps}" if row.total_steps else "",
            figures.loss(row.loss) if row.loss is not None else "",
            *([_spent(row)] if costs else []),
            Text(figures.printable(row.problem or row.model), no_wrap=True, overflow="ellipsis"),
        )
    return table


def plan_tables(plan: Plan) -> RenderableType:
    """What would be done: every decision with its reason, and the estimate where there is one."""
    table = Table(box=box.SIMPLE_HEAD, title="decided", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("value", style="bold", overflow="fold")
    table.add_column("because", overflow="fold")
    for made in plan.decisions:
        table.add_row(Text(made.at), Text(made.value), Text(made.reason))
    parts: list[RenderableType] = [table] if plan.decisions else []
    if plan.memory is not None:
        part = f"memory   {plan.memory.peak_gb:.1f} of {plan.memory.capacity_gb:.1f} GB ({plan.memory.basis})"
        parts.append(Text(part))
    if plan.cost is not None:
        parts.append(Text(_cost_line(plan)))
    return Group(*parts)


def _cost_line(plan: Plan) -> str:
    cost = plan.cost
    assert cost is not None
    low, high = (sum(getattr(stage, end) for stage in cost.stages) for end in ("low", "high"))
    money = f"{figures.dollars(cost.usd_low)} to {figures.dollars(cost.usd_high)}"
    return f"time     {figures.duration(low)} to {figures.duration(high)}\nmoney    {money} ({cost.basis})"


def _headline(report: Report) -> Text:
    line = Text().append(figures.printable(report.name), style="bold").append(f"  run {report.run_id}  ")
    line.append(report.status, style=f"bold {_STYLES.get(report.status, '')}")
    if report.stop_reason is not None:
        line.append(f" ({stop_words(report.stop_reason)})")
    where = f" on {report.device}" if report.device else ""
    attempts = f", {report.attempts} attempts" if report.attempts > 1 else ""
    return line.append(f"{where}{attempts}", style="dim")


def _figures(report: Report) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(report):
        grid.add_row(name, Text(value))
    return grid


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    if report.adapter is not None:
        yield "goes on from", report.adapter
    if report.total_steps:
        yield "steps", f"{report.step:,} of {report.total_steps:,}"
    if report.loss_first is not None and report.loss_last is not None:
        mean = f" (mean {figures.loss(report.train_loss)})" if report.train_loss is not None else ""
        yield "loss", f"{figures.loss(report.loss_first)} → {figures.loss(report.loss_last)}{mean}"
    if len(report.loss) > 1:
        yield "", sparkline([point.loss for point in report.loss], 40)
    yield from source_facts(report)
    yield from eval_facts(report)
    if report.parameters and report.trainable_parameters is not None:
        part = figures.share(report.trainable_parameters, report.parameters)
        yield "trained", f"{report.trainable_parameters:,} of {report.parameters:,} parameters ({part})"
    if report.rows is not None and report.tokens is not None:
        yield "data", f"{report.rows:,} rows, {report.tokens:,} tokens, {report.learnt_tokens or 0:,} learnt from"
    if report.memory_gb:
        yield "memory", f"{report.memory_gb:.2f} GB at most"
    if report.data_wait_share is not None and report.data_wait_share >= WAITING_WORTH_SAYING:
        yield "waited", f"{100 * report.data_wait_share:.1f} % of the steps' time for data"
    yield "time", figures.duration(report.seconds)
    yield from money_facts(report)
    if report.status == "finished":
        yield "adapter", report.output_dir
    else:
        yield "checkpoint", report.checkpoint or "none yet"


def _stages(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    table.add_column("stage", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    whole = sum(stage.seconds for stage in report.stages)
    for stage in report.stages:
        part = f"{100 * stage.seconds / (whole or 1):.0f} %"
        table.add_row(stage_words(stage.name), figures.duration(stage.seconds), part)
    return table


def _estimates(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in ("", "estimated", "was"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "seconds": ("time", figures.duration),
        "seconds_per_step": ("a steady step", lambda v: f"{v:.3g} s"),
        "first_steps_seconds": ("first steps, more", figures.duration),
        "memory_gb": ("memory", lambda v: f"{v:.2f} GB"),
        "usd": ("money", lambda v: figures.dollars(Decimal(str(v)))),
    }
    for one in report.estimates:
        name, form = shown[one.what]
        error = error_percent(one)
        table.add_row(name, one.estimated(form), form(one.actual), "" if error is None else f"{error:+.0f} %")
    return table


def _failure(failure: Failure, *, with_help: bool) -> RenderableType:
    lines = [Text(f"failed while {stage_words(failure.stage)}: {figures.printable(failure.message)}", style="red")]
    lines += [Text(f"| {figures.printable(line)}", style="dim") for line in failure.tail[-8:]]
    if failure.help and with_help:
        lines.append(Text(f"help: {figures.printable(failure.help)}"))
    return _inset(Group(*lines))


def _inset(content: RenderableType, above: int = 1) -> Padding:
    return Padding(content, (above, 0, 0, 2), expand=False)


def _said(text: str | None) -> Text:
    return Text("not asked", style="dim") if text is None else Text(figures.printable(text))


def _spent(row: Row) -> str:
    """Nothing where nothing was counted yet: the record has money from the first checkpoint on."""
    usd = Decimal(row.spent_usd)
    return figures.dollars(usd) if usd and executor(row.executor).rents else ""


def _short_age(seconds: float) -> str:
    """The biggest unit alone: a list is for scanning."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(int(seconds), 0)} s"
