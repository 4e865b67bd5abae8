"""What the data's facts say against a recipe: broken lines, missing columns, cuts, nothing to learn, overlap.  Pure."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType

from sftrun.diagnostics import Diagnostic, Path, Severity, Span, dotted
from sftrun.facts.data.private import PERSONAL
from sftrun.facts.values import DataFacts, FaultKind, RowFault
from sftrun.recipe.labelling import row_rules, source_rules
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source
from sftrun.rows.forms import CHAT, COLUMNS, NAMED_TEMPLATES, TURNS, detect
from sftrun.rows.shape import read_columns

# a share of rows below which nothing is said; the trainer drops such rows without a word
NOTHING_LEARNT_SHARE = 0.01
BORDER_SHARE = 0.01
DECLARED_SLACK = 0.1


def check_data(
    recipe: Recipe,
    train: DataFacts | None,
    evaluation: DataFacts | None,
    positions: int | None = None,
    parts: Mapping[str, DataFacts | None] = MappingProxyType({}),
) -> Iterator[Diagnostic]:
    """Every diagnostic that the data give rise to; what could not be read gives none.

    `positions` are the model's, `parts` the sources by their keys where there are several.
    """
    found = {at: parts.get(dotted(at), train if at[1] == "train" else evaluation) for at in recipe.dataset.sources}
    for at, source in recipe.dataset.sources.items():
        facts = found[at]
        if facts is not None and facts.source == "counted":
            yield from _source(recipe, at, source, facts, positions)
    yield from _forms_differ(found)
    yield from _lacking(recipe, train or evaluation)


def _forms_differ(found: Mapping[Path, DataFacts | None]) -> Iterator[Diagnostic]:
    """Rows to evaluate on have one of the forms that are learnt."""
    forms = {at: None if facts is None else facts.format for at, facts in found.items()}
    trained = list(dict.fromkeys(form for at, form in forms.items() if at[1] == "train"))
    for at, form in forms.items():
        if at[1] == "eval" and form is not None and trained and None not in trained and form not in trained:
            message = f"the eval rows are {form}, the training rows {' and '.join(map(str, trained))}"
            help = f"bring the eval data into the form {trained[0]}"
            yield Diagnostic("D118", message, at=(*at, "path"), help=help)


def _lacking(recipe: Recipe, facts: DataFacts | None) -> Iterator[Diagnostic]:
    for key, token in (facts.lacking_tokens if facts is not None else {}).items():
        own = getattr(recipe.dataset, key) is not None
        at: Path = ("dataset", key) if own else ("trainer", "extra", key)
        message = f"`{key}` `{token}` is no token of `{recipe.model.name_or_path}`"
        yield Diagnostic(
            "D119", message, at=at, help=f"name a token of its vocabulary, or write `dataset.add_tokens: [{token!r}]`"
        )


def _source(
    recipe: Recipe, place: Path, source: Source, facts: DataFacts, positions: int | None
) -> Iterator[Diagnostic]:
    at: Path = (*place, "path")
    yield from _broken(facts, at)
    yield from _names(recipe, source, facts, at[:-1])
    if facts.format is None:
        yield from () if facts.missing_columns else (_no_form(recipe, source, facts, at),)
    elif facts.rows == 0:
        if not facts.rows_broken and not facts.rows_misshapen:
            yield Diagnostic("D104", f"`{source.path}` has no rows", at=at, help="give a file with at least one row")
    else:
        yield from _nothing_learnt(facts, at)
        yield from _cut(recipe, at, facts, positions)
        yield from _repeated(facts, at)
        yield from _laid_out(facts, at)
        yield from _incomplete(facts, at)
        yield from _roles(facts, at)
        yield from _typed(facts, at)
        yield from _private(facts, at)
        yield from _unread(facts, at)
        yield from _border(recipe, facts, at)
        yield from _declared(place, source, facts)


def _broken(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.rows_broken:
        yield _lines(facts, "syntax", "D102", facts.rows_broken, at, _to_mend(facts))
    if facts.rows_misshapen:
        yield _lines(facts, "form", "D112", facts.rows_misshapen, at, "mend the row, or set `dataset.format`")


def _to_mend(facts: DataFacts) -> str:
    first = next(fault for fault in facts.faults if fault.kind == "syntax")
    if not first.is_at_a_line:
        return "write the file anew"
    if "UTF-8" in first.message:
        return "save the file as UTF-8"
    if first.text.strip() in ("[", "{"):
        return "write one object a line" + (", or name the file `.json`" if first.text.strip() == "[" else "")
    return "mend the line, or take it out"


def _names(recipe: Recipe, source: Source, facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    """Columns and roles that the recipe names and the rows have not, or that their form doesn't read."""
    named = {} if source.columns is None else source.columns.named()
    for ours, near in facts.missing_columns.items():
        has = ", ".join(f"`{column}`" for column in facts.columns)
        message = f"the rows of `{source.path}` have no `{named[ours]}`"
        help = f"did you mean `{near}`?" if near else f"they have {has}"
        yield Diagnostic("D140", message, at=(*at, "columns", ours), help=help)
    if facts.format is None or not facts.rows:
        return
    of_turns = ("role", "content") if facts.format in ("messages", "prompt_completion") else ()
    read = (*read_columns(facts.format, source_rules(row_rules(recipe), source)), *of_turns)
    keys: list[Path] = [("columns", ours) for ours in named if ours not in read and ours not in facts.missing_columns]
    for key in keys + ([("roles",)] if source.roles and "role" not in read else []):
        message = f"`{key[-1]}` changes nothing for rows of {facts.format}"
        yield Diagnostic("R216", message, at=(*at, *key), on_key=True, help="take it out, or write another `format`")


def _no_form(recipe: Recipe, source: Source, facts: DataFacts, at: Path) -> Diagnostic:
    wanted = source.format or recipe.dataset.format
    has = ", ".join(f"`{column}`" for column in facts.columns) or "none"
    if not facts.rows:
        return Diagnostic("D104", f"`{_path(recipe, at)}` has no rows", at=at, help="give a file with at least one row")
    if wanted == "auto":
        *others, last = (" and ".join(f"`{column}`" for column in columns) for columns in COLUMNS.values())
        message = f"no known format has the columns of `{_path(recipe, at)}`: {has}"
        help = f"name them by `columns`, for example `columns: {{instruction: {facts.columns[0]}, output: …}}`"
        if len(facts.columns) < 2:
            help = f"name them {', '.join(others)} or {last}"
        return Diagnostic("D103", message, at=at, help=help)
    missing = ", ".join(f"`{column}`" for column in COLUMNS[wanted] if column not in facts.columns)
    message = f"the format `{wanted}` needs {missing}, `{_path(recipe, at)}` has {has}"
    fitting = detect(facts.columns)
    example = ", ".join(f"{name}: …" for name in COLUMNS[wanted])
    help = f"write `format: {fitting}`" if fitting else f"say by `columns: {{{example}}}` which they are"
    own: Path = (*at[:-1], "format") if source.format is not None else ("dataset", "format")
    return Diagnostic("D103", message, at=own, help=help)


def _nothing_learnt(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.rows_nothing_learnt > NOTHING_LEARNT_SHARE * facts.rows:
        message = f"nothing can be learnt from {_of(facts.rows_nothing_learnt, facts)}: every label is masked"
        help = "raise `trainer.max_length`, or take these rows out" if facts.rows_cut else "take these rows out"
        yield Diagnostic("D105", message, at=at, help=help, notes=_first(facts, "nothing_learnt"))


def _cut(recipe: Recipe, at: Path, facts: DataFacts, positions: int | None) -> Iterator[Diagnostic]:
    if facts.rows_cut and facts.length_for_99_percent is not None:
        longest = facts.percentiles.get("100", 0)
        enough = min(_round_up(facts.length_for_99_percent), longest)
        kept = enough if enough > recipe.trainer.max_length else longest
        share = "every row" if kept == longest else "99 %"
        help = f"write `max_length: {kept}` to keep {share} whole"
        if positions is not None and kept > positions:
            help = f"split the long rows: the model has {positions:,} positions, {share} would need {kept:,}"
        if facts.format == "text":
            help = "write `chunk: true` in `dataset` to learn all of it in pieces"
        yield Diagnostic(
            "D107",
            f"`max_length` {recipe.trainer.max_length} cuts {_of(facts.rows_cut, facts)}"
            f"{_whose(recipe, at)}: the longest has {longest:,} tokens{_lost(facts)}",
            at=("trainer", "max_length"),
            severity="warning",
            help=help,
        )


def _lost(facts: DataFacts) -> str:
    """By how much the answers are cut: rows alone do not tell."""
    share = 100 * facts.unlearnt_tokens / max(facts.unlearnt_tokens + (facts.learnt_tokens or 0), 1)
    return f", and {share:.2g} % of what is to be learnt is lost" if facts.unlearnt_tokens else ""


def _repeated(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.rows_duplicate:
        message = f"duplicates: {_of(facts.rows_duplicate, facts)}"
        yield _warning("D108", message, at, "take the second ones out", _first(facts, "duplicate"))
    if facts.rows_in_train:
        message = f"the training data hold {_of(facts.rows_in_train, facts)} of the eval data"
        help = "take them out of one of the two, or use `eval_fraction`"
        yield _warning("D109", message, at, help, _first(facts, "in_train"))


def _laid_out(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.rows_unrenderable:
        yield _lines(
            facts, "template", "D113", facts.rows_unrenderable, at, "mend the messages to what the template takes"
        )
    if not facts.template_asks:
        message = (
            "the model's chat template has no generation prompt: after training, nothing says that it is to answer"
        )
        yield _warning("D114", message, ("model", "name_or_path"), "set `dataset.chat_template` to one that has it")
    if facts.never_ends and not facts.unknown_marks:
        message = "no token ends what the assistant says: after training, the model does not stop by itself"
        help = "name a chat template whose turns end with a token, like `{{ eos_token }}`, in `dataset.chat_template`"
        yield _warning("D134", message, at, help)
    if facts.unknown_marks:
        named = ", ".join(f"`{mark}`" for mark in facts.unknown_marks)
        message = f"the chat template prints {named}, no token of the model: letters are learnt in its place"
        listed = json.dumps(facts.unknown_marks, ensure_ascii=False)
        help = f"write `dataset.add_tokens: {listed}`, or name a template of the model's own tokens"
        yield _warning("D131", message, ("dataset", "chat_template"), help)


def _incomplete(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.rows_incomplete:
        help = "name a template that prints it in `dataset.chat_template`, or take it out of the row"
        yield _lines(facts, "incomplete", "D117", facts.rows_incomplete, at, help)


def _typed(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    kinds: tuple[tuple[FaultKind, str, int, str], ...] = (
        ("blank", "D120", facts.rows_blank, "write the answer, or take the row out"),
        ("two_begins", "D121", facts.rows_with_two_begins, "take it out of the rows: the tokenizer adds it"),
        ("special", "D122", facts.rows_with_special_tokens, "write it otherwise, unless the model is to learn it"),
    )
    for kind, code, count, help in kinds:
        if count:
            yield _lines(facts, kind, code, count, at, help, severity="warning")


def _private(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    """By kind, count and line; the values stay where they are."""
    sorts: tuple[tuple[FaultKind, str, int, str, str], ...] = (
        ("secret", "D132", facts.rows_with_secrets, "keys", "take them out, and revoke those that are real"),
        ("personal", "D133", facts.rows_with_personal_data, "personal data", "write made-up ones in their place"),
    )
    for kind, code, count, what, help in sorts:
        if not count:
            continue
        is_key = kind == "secret"
        named = ", ".join(f"{name} ({rows:,})" for name, rows in facts.private.items() if _is_key(name) is is_key)
        faults = [fault for fault in facts.faults if fault.kind == kind]
        lines = ", ".join(f"{PurePath(one.file).name} {_row_word(one)} {one.line}" for one in faults)
        more = f" and {count - len(faults):,} more" if count > len(faults) else ""
        yield _warning(code, f"{_of(count, facts)} hold what looks like {what}: {named}", at, help, (f"{lines}{more}",))


def _is_key(name: str) -> bool:
    return name not in PERSONAL


def _unread(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.unread_columns:
        named = ", ".join(f"`{name}` ({count:,} rows)" for name, count in facts.unread_columns.items())
        message = f"nobody reads {named}: rows of {facts.format} have no place for it"
        help = _to_read(facts)
        yield _warning("D123", message, at, help)
    if facts.renamed_roles:
        named = ", ".join(f"`{name}`" for name in facts.renamed_roles)
        message = f"roles are read as user and assistant: {named}"
        yield _warning("D124", message, at, "nothing, if that is meant; else rename them")


def _to_read(facts: DataFacts) -> str:
    if facts.format == "instruction" and set(facts.unread_columns) <= set(TURNS):
        return "write `instruction_template: chat` to have it read, or drop the column"
    return "write the rows as `messages` to have it learnt from, or drop the column"


def _roles(facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.rows_roles_out_of_order and not facts.rows_unrenderable:  # one cause, said once
        help = "let user and assistant take turns, and the assistant end"
        yield _lines(facts, "roles", "D110", facts.rows_roles_out_of_order, at, help, severity="warning")


def _border(recipe: Recipe, facts: DataFacts, at: Path) -> Iterator[Diagnostic]:
    if facts.format == "instruction" and recipe.dataset.instruction_template not in (*NAMED_TEMPLATES, CHAT):
        at = ("dataset", "instruction_template")
    if facts.rows_border_merged > BORDER_SHARE * facts.rows:
        message = f"in {_of(facts.rows_border_merged, facts)} a token spans the prompt's end and the answer's beginning"
        help = "end the prompt with a line break, or begin the answer with a space"
        yield _warning("D115", message, at, help, _first(facts, "border"))


def _declared(place: Path, source: Source, facts: DataFacts) -> Iterator[Diagnostic]:
    for key, declared, counted in (
        ("num_examples", source.num_examples, facts.rows),
        ("mean_tokens", source.mean_tokens, facts.mean_tokens),
    ):
        if declared is not None and counted is not None and abs(declared - counted) > DECLARED_SLACK * counted:
            message = f"`{key}` says {declared:,.0f}, counted are {counted:,.0f}: the count is used"
            yield _warning("D111", message, (*place, key), f"write `{key}: {counted:.0f}`, or remove it")


def _lines(
    facts: DataFacts, kind: str, code: str, count: int, at: Path, help: str, *, severity: Severity = "error"
) -> Diagnostic:
    """One diagnostic at the first such line, the next few in a note; at the recipe's key where a row is no line."""
    found = [fault for fault in facts.faults if fault.kind == kind]
    first = found[0]
    others = [str(fault.line) for fault in found[1:] if fault.file == first.file]
    rest = count - 1 - len(others)
    listed = f"{count:,} such rows: also {_row_word(first)} {', '.join(others)}" + (
        f" and {rest:,} more" if rest else ""
    )
    return Diagnostic(
        code,
        f"{PurePath(first.file).name}, {_row_word(first)} {first.line}: {first.message}",
        at=at,
        severity=severity,
        help=help,
        also=((at, "named here"),) if first.is_at_a_line else (),
        span=_span(first) if first.is_at_a_line else None,
        excerpt=first.text or None,
        notes=(listed,) if others else (),
    )


def _span(fault: RowFault) -> Span:
    """From the fault's column to the line's end, as far as the line is known."""
    return Span(fault.file, fault.line, fault.column, fault.line, max(len(fault.text) + 1, fault.column))


def _first(facts: DataFacts, kind: str) -> tuple[str, ...]:
    fault = next((fault for fault in facts.faults if fault.kind == kind), None)
    if fault is None:
        return ()
    return (f"the first: {PurePath(fault.file).name}, {_row_word(fault)} {fault.line}: {fault.message}",)


def _row_word(fault: RowFault) -> str:
    return "line" if fault.is_at_a_line else "entry"


def _warning(code: str, message: str, at: Path, help: str, notes: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code, message, at=at, severity="warning", help=help, notes=notes)


def _of(count: int, facts: DataFacts) -> str:
    share = 100 * count / facts.rows
    return f"{count:,} of {facts.rows:,} rows" + (f" ({share:.3g}%)" if share >= 0.1 else "")


def _path(recipe: Recipe, at: Path) -> str:
    return str(recipe.dataset.sources[at[:-1]].path)


def _whose(recipe: Recipe, at: Path) -> str:
    """Which rows, where a message stands at a key that is of all of them."""
    if len(at) > 3:
        return f" of `{_path(recipe, at)}`"
    return " of the eval data" if at[1] == "eval" else ""


def _round_up(length: int, step: int = 64) -> int:
    return -(-length // step) * step
