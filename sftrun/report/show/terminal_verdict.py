"""The verdict on a terminal: figures, groups, what it comes to, and the rows that got worse, side by side."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sftrun.evaluate.verdict import Result, RowResult
from sftrun.report.comparing import Comparison
from sftrun.report.show import figures, verdict_words
from sftrun.report.verdicts import Judged

_STYLES = {"better": "green", "worse": "red", "unclear": "yellow"}
_LONGEST_ANSWER = 1200


def screen(found: Judged, *, most_rows: int = 3) -> RenderableType:
    """One screen; of the rows that got worse the first `most_rows`."""
    verdict = found.verdict
    head = Text("evaluation", style="bold").append(
        f"  {figures.printable(found.data)}, {verdict.rows:,} rows, base against tuned", style="dim"
    )
    parts: list[RenderableType] = [head, _inset(_table(verdict.results))]
    if verdict.groups:
        parts.append(_inset(_groups(verdict.groups, found.by or "group")))
    if verdict.forgetting:
        parts.append(_inset(_table(verdict.forgetting, "forgotten?")))
    parts.append(_inset(_words(found)))
    worse = [row for row in verdict.row_results if row.change < 0]
    if worse and most_rows:
        parts.append(_inset(Text(_worse_words(len(worse), most_rows), style="bold")))
        parts += [_side_by_side(row) for row in worse[:most_rows]]
    return Group(*parts)


def comparison(found: Comparison) -> RenderableType:
    """Each run against the first, and how much runs differ."""
    told = (
        f"  {figures.printable(found.data)}, {found.rows:,} rows, each run against {found.first_name} {found.first_id}"
    )
    parts: list[RenderableType] = [Text("comparison", style="bold").append(told, style="dim")]
    for one in found.against:
        parts += [_inset(Text(f"{one.name} {one.run_id}", style="bold"))]
        parts += [_inset(_table(one.verdict.results, columns=("rows", found.first_id, one.run_id)))]
    for spread in found.spread:
        words = f"mean {spread.mean:.3f}, standard deviation {spread.deviation:.3f}"
        parts.append(_inset(Text(f"{spread.metric} over {spread.runs} runs: {words}")))
    return Group(*parts)


def _worse_words(worse: int, most: int) -> str:
    shown = f"; the {min(most, worse)} that lost most" if worse > 1 else ""
    return f"{worse:,} {'row' if worse == 1 else 'rows'} got worse{shown}"


def _table(results: Sequence[Result], first: str = "", columns: Sequence[str] = verdict_words.HEAD[1:4]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for number, column in enumerate((first, *columns, *verdict_words.HEAD[4:])):
        is_figure = 0 < number < 4
        table.add_column(
            column, justify="right" if is_figure else "left", no_wrap=number not in (0, 5), overflow="fold"
        )
    for one in results:
        style = _STYLES.get(one.outcome or "", "")
        *shown, outcome = verdict_words.cells(one)
        table.add_row(*(Text(figures.printable(cell)) for cell in shown), Text(outcome, style=style))
    return table


def _groups(groups: Sequence[Result], by: str) -> RenderableType:
    """The groups of the first metric; of the others those that got worse, as the words below say."""
    first = groups[0].metric
    shown = [one.model_copy(update={"rows_needed": None}) for one in groups if one.metric == first]
    return _table(shown, f"{first} by {by}")


def _words(found: Judged) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, told in verdict_words.summary(found.verdict):
        grid.add_row(name, Text(figures.printable(told)))
    if found.verdict.gate is not None:
        gate = found.verdict.gate
        grid.add_row("gate", Text(verdict_words.gate_words(gate), style="green" if gate.passed else "red"))
    for remark in found.remarks:
        grid.add_row("note", Text(remark))
    return grid


def _side_by_side(row: RowResult) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, show_edge=False, pad_edge=False)
    for column, style in (("expected", "bold dim"), ("base", "bold dim"), ("tuned", "bold red")):
        table.add_column(column, ratio=1, overflow="fold", header_style=style)
    table.add_row(*(_said(text) for text in (row.expected, row.base, row.tuned)))
    group = f"  {row.group}" if row.group is not None else ""
    asked = Text(f"row {row.index + 1}{group}  ", style="dim").append(figures.printable(row.prompt), style="bold")
    scores = Text(", ".join(_changes(row)), style="dim")
    return Padding(Group(asked, scores, table), (1, 0, 0, 2))


def _changes(row: RowResult) -> Iterable[str]:
    for name, before in row.base_scores.items():
        after = row.tuned_scores.get(name)
        if after is not None and after != before:
            yield f"{name} {before:.3g} → {after:.3g}"


def _said(text: str | None) -> Text:
    if text is None:
        return Text("none", style="dim")
    cut = text if len(text) <= _LONGEST_ANSWER else f"{text[:_LONGEST_ANSWER]} …"
    return Text(figures.printable(cut))


def _inset(content: RenderableType) -> Padding:
    return Padding(content, (1, 0, 0, 2), expand=False)
