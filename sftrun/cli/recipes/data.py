"""`sftrun data show`: the rows as the trainer will see them, and what they come to."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click

from sftrun.cli.examine import Examined, examine_file
from sftrun.cli.options import format_option, recipe_argument, set_option
from sftrun.cli.recipes import data_writing
from sftrun.contract.row_rules import RowRules
from sftrun.diagnostics import dotted
from sftrun.errors import Problem, RecipeRejected, SftrunError, UsageError
from sftrun.facts.data import count
from sftrun.facts.data.count import Asked
from sftrun.facts.model.lookup import model_folder
from sftrun.facts.values import DataFacts
from sftrun.plan.check.data_facts import check_data
from sftrun.recipe.labelling import row_rules, source_rules
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source
from sftrun.report.show import data_view
from sftrun.report.show.carets import render, wants_colour
from sftrun.rows import tokenizer
from sftrun.rows.labels import Labelled, Labeller, Refused
from sftrun.rows.plain import Row


@click.group()
def command() -> None:
    """Look at the rows as the trainer will see them; clean them, and split them."""


command.add_command(data_writing.clean)
command.add_command(data_writing.split)


@command.command()
@recipe_argument
@click.option("--row", type=click.IntRange(1), metavar="N", help="Show this row alone, counted from 1.")
@click.option("--split", type=click.Choice(("train", "eval")), default="train", show_default=True, help="Which rows.")
@set_option
@format_option()
def show(recipe: str, row: int | None, split: str, overrides: tuple[str, ...], form: str) -> int:
    """Show a row as the model will see it, learnt tokens in colour, and what all rows come to.

    \b
    Examples:
      sftrun data show recipe.yaml
      sftrun data show recipe.yaml --row 17
      sftrun data show recipe.yaml --split eval --set trainer.max_length=512
      sftrun data show recipe.yaml --format json
    """
    examined = examine_file(recipe, overrides)
    wanted = _recipe(examined)
    if form == "json":
        return _json(examined, wanted, split, row)
    if row is None:
        _summary(examined, wanted, split)
        click.echo()
    for line in _row(examined, wanted, split, row or 1):
        click.echo(line)
    return 0


def row_lines(examined: Examined) -> Iterator[str]:
    """The first training row as the model will see it; nothing where it can't be shown."""
    if examined.loaded.recipe is not None:
        with suppress(SftrunError):
            yield from _row(examined, examined.loaded.recipe, "train", 1)


def _recipe(examined: Examined) -> Recipe:
    if examined.loaded.recipe is None or examined.gathered is None:
        click.echo(render(examined.diagnostics, examined.loaded.source), err=True)
        raise RecipeRejected("")
    return examined.loaded.recipe


class _Part(NamedTuple):
    """One source of a split: its key, and how its rows are read."""

    key: str
    asked: Asked
    facts: DataFacts


def _parts(examined: Examined, recipe: Recipe, split: str) -> list[_Part]:
    sources = recipe.dataset.train_sources if split == "train" else recipe.dataset.eval_sources
    if not sources:
        raise UsageError("the recipe has no `dataset.eval`", help="leave out `--split eval`")
    return [_part(examined, recipe, dotted(at), source) for at, source in sources.items()]


def _part(examined: Examined, recipe: Recipe, key: str, source: Source) -> _Part:
    assert examined.gathered is not None
    if source.hub is not None:
        raise SftrunError(
            f"the rows of `{source.hub}` are on the Hub; only the job reads them", help="name a file instead"
        )
    found = examined.gathered.facts.of(key)
    if found.rows is None:
        problem = examined.gathered.problems.get(f"{key}.path")
        message = problem.message if problem else f"`{source.path}` is on a Volume and not on this machine"
        raise SftrunError(message, help=problem.help if problem else "look at a copy: `--set dataset.train.path=FILE`")
    asked = Asked(found.files, source_rules(_rules(examined, recipe), source), source.max_examples)
    return _Part(key, asked, found.rows)


def _tokenizer_folder(examined: Examined, recipe: Recipe) -> Path | None:
    folder = examined.loaded.folders.get("model.name_or_path", ".")
    try:
        return model_folder(recipe.model.name_or_path, recipe.model.revision, Path(folder))
    except SftrunError:
        return None


def _summary(examined: Examined, recipe: Recipe, split: str) -> None:
    parts = {part.key: part.facts for part in _parts(examined, recipe, split)}
    for key, facts in parts.items():
        for line in data_view.summary_lines(key, facts):
            click.echo(line)
    found = list(check_data(recipe, None, None, parts=parts))
    if found:
        click.echo("\n" + render(found, examined.loaded.source), err=True)


def _row(examined: Examined, recipe: Recipe, split: str, number: int) -> Iterator[str]:
    found = _labelled(examined, recipe, split, number)
    parts = data_view.runs(found.kept, found.tokens)
    later = _rules(examined, recipe).truncation_mode == "keep_end"
    yield from data_view.row_lines(
        found.place, found.length, parts, begins_later=later, colour=wants_colour(sys.stdout)
    )


class _Shown(NamedTuple):
    """A row as the trainer gets it; `length`: its tokens before it is cut.  `kept` is the first of its `pieces`."""

    place: str
    length: int
    kept: Labelled
    tokens: tokenizer.Tokens
    pieces: list[Labelled]


def _labelled(examined: Examined, recipe: Recipe, split: str, number: int) -> _Shown:
    part, own = _holding(_parts(examined, recipe, split), number)
    paths, (_, rules, most) = [Path(path) for path in part.asked.files.paths], part.asked
    found = count.row_at(paths, own) if most is None or own <= most else None
    if found is None:
        raise UsageError(f"`dataset.{split}` has no row {number}", help="rows count from 1")
    file, line, row = found
    how = count.decided(rules, recipe.trainer.max_length, paths)
    if how is None:
        raise SftrunError(f"the columns {', '.join(row)} are no known format", help="run `sftrun validate` to see more")
    known = tokenizer.load(_tokenizer_folder(examined, recipe), rules)
    if isinstance(known, Problem):
        raise SftrunError(f"the row can't be shown as tokens: {known.message}", help=known.help)
    labeller = Labeller(rules, how.form, how.max_length, known)
    read = how.reading.row(row)
    labelled = how.reading.fault(read, rules) or _first(labeller, read)
    if not isinstance(labelled, Labelled):
        raise SftrunError(f"{file}:{line}: {labelled}", help="mend that row")
    first, *others = labeller.pieces(labelled)
    more = f", piece 1 of {1 + len(others)}" if others else ""
    place = f"row {number} of dataset.{split} ({Path(file).name}, line {line}{more})"
    return _Shown(place, len(labelled.ids), first, known, [first, *others])


def _holding(parts: Sequence[_Part], number: int) -> tuple[_Part, int]:
    """The source that holds a row, counted over all of them in their order; and its number there."""
    for part in parts[:-1]:
        held = part.facts.rows + part.facts.rows_misshapen
        if number <= held:
            return part, number
        number -= held
    return parts[-1], number


def _first(labeller: Labeller, row: Row) -> Labelled | str:
    made = next(labeller.labels([row]))
    return made.message if isinstance(made, Refused) else made


def _rules(examined: Examined, recipe: Recipe) -> RowRules:
    assert examined.gathered is not None
    return row_rules(recipe, examined.gathered.facts.chat_template)


def _json(examined: Examined, recipe: Recipe, split: str, number: int | None) -> int:
    if number is None:
        known = {part.key: part.facts.model_dump(mode="json") for part in _parts(examined, recipe, split)}
        told = known if len(known) > 1 else next(iter(known.values()))
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return 0
    found = _labelled(examined, recipe, split, number)
    parts = data_view.runs(found.kept, found.tokens)
    spans = [{"text": part.text, "learnt": part.is_learnt, "tokens": part.tokens} for part in parts]
    ids, labels = found.kept
    shown = {"row": found.place, "tokens": found.length, "input_ids": ids, "labels": labels, "spans": spans}
    if len(found.pieces) > 1:
        shown["pieces"] = [{"input_ids": piece.ids, "labels": piece.labels} for piece in found.pieces]
    click.echo(json.dumps(shown, ensure_ascii=False))
    return 0
