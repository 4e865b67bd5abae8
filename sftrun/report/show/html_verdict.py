"""The verdict on a report's page: tables, and all kept rows, sorted and filtered by the style sheet alone.

Rows that got worse stand first; a choice above them sorts by number, or shows one outcome or one group.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from sftrun.evaluate.verdict import Result, RowResult
from sftrun.report.show import figures, verdict_words
from sftrun.report.verdicts import Judged

MOST_GROUPS: Final = 40
_CHANGES: Final = ("worse", "better", "same")
_STYLE: Final = """
.asked-rows { display: flex; flex-direction: column; } .choices { display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
.asked-rows article { border-top: 1px solid var(--line); padding: .6rem 0; }
.rows:has(.by-number:checked) article { order: var(--number); }
"""


def section(found: Judged | None) -> str:
    """The whole section; nothing where nothing was evaluated."""
    if found is None:
        return ""
    verdict = found.verdict
    told = [f"<p><strong>{_text(name)}</strong> {_text(what)}</p>" for name, what in verdict_words.summary(verdict)]
    if verdict.gate is not None:
        told.append(f"<p><strong>gate</strong> {_text(verdict_words.gate_words(verdict.gate))}</p>")
    told += [f'<p class="soft">{_text(remark)}</p>' for remark in found.remarks]
    tables = [_table("", (*verdict.results, *verdict.forgetting))]
    if verdict.groups:
        tables.append(_table(found.by or "group", verdict.groups))
    rows = _rows(verdict.row_results)
    where = f"{found.data}, {verdict.rows:,} rows, base against tuned"
    return f'<section><h2>Evaluation</h2><p class="soft">{_text(where)}</p>{"".join((*tables, *told, rows))}</section>'


def _table(first: str, results: Sequence[Result]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in (first, *verdict_words.HEAD[1:]))
    lines = "".join(f"<tr>{''.join(_cells(one))}</tr>" for one in results)
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _cells(one: Result) -> Iterable[str]:
    name, *others = verdict_words.cells(one)
    shown = f"{name}, {one.metric}" if one.group is not None else name
    return (f"<td>{_text(cell)}</td>" for cell in (shown, *others))


def _rows(rows: Sequence[RowResult]) -> str:
    if not rows:
        return ""
    groups = sorted({row.group for row in rows if row.group is not None})[:MOST_GROUPS]
    style = _STYLE + "".join(_hides(name) for name in (*_CHANGES, *(f"group-{n}" for n in range(len(groups)))))
    choices = (
        _choice("sort", (("", "worst first"), ("by-number", "by number"))),
        _choice("outcome", (("", "all"), *((f"only-{name}", name) for name in _CHANGES))),
        _choice("group", (("", "all"), *((f"only-group-{n}", group) for n, group in enumerate(groups))))
        if groups
        else "",
    )
    shown = "".join(_row(row, groups) for row in rows)
    return f'<style>{style}</style><div class="rows">{"".join(choices)}<div class="asked-rows">{shown}</div></div>'


def _hides(name: str) -> str:
    return f".rows:has(.only-{name}:checked) article:not(.{name}) {{ display: none; }}\n"


def _choice(name: str, options: Iterable[tuple[str, str]]) -> str:
    inputs = "".join(
        f'<label><input type="radio" name="{name}" class="{kind}"{"" if kind else " checked"}> {_text(words)}</label>'
        for kind, words in options
    )
    return f'<p class="choices soft">{name}: {inputs}</p>'


def _row(row: RowResult, groups: Sequence[str]) -> str:
    kinds = [_CHANGES[0] if row.change < 0 else _CHANGES[1] if row.change > 0 else _CHANGES[2]]
    kinds += [f"group-{groups.index(row.group)}"] if row.group in groups else []
    scores = ", ".join(
        f"{name} {row.base_scores[name]:.3g} → {after:.3g}"
        for name, after in row.tuned_scores.items()
        if name in row.base_scores
    )
    answers = "".join(
        f'<div><span class="soft">{name}</span><pre>{_text("not asked" if text is None else text)}</pre></div>'
        for name, text in (("expected", row.expected or ""), ("base", row.base), ("tuned", row.tuned))
    )
    return (
        f'<article class="{" ".join(kinds)}" style="--number: {row.index}"><p><span class="soft">row {row.index + 1} '
        f'{_text(row.group or "")}</span> <strong>{_text(row.prompt)}</strong></p><p class="soft">{_text(scores)}</p>'
        f'<div class="answers">{answers}</div></article>'
    )


def _text(text: str) -> str:
    return escape(figures.printable(text), quote=True)
