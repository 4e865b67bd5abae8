"""`sftrun data clean` and `sftrun data split`: rows into new files; those that they come from are never touched."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from sftrun.cli.examine import Examined, examine_file
from sftrun.cli.options import format_option, recipe_argument, set_option
from sftrun.cli.waiting import bar
from sftrun.diagnostics import dotted
from sftrun.disk import files
from sftrun.errors import RecipeRejected, SftrunError, UsageError
from sftrun.facts.data import cleaning, count, splitting
from sftrun.facts.data.cleaning import Judged, Seen
from sftrun.facts.data.count import Progress
from sftrun.facts.data.tally import How
from sftrun.recipe.labelling import row_rules, source_rules
from sftrun.report.show import data_view
from sftrun.report.show.carets import render
from sftrun.rows.plain import Row
from sftrun.rows.raw.find import Files

FIRST = 5


@click.command()
@recipe_argument
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the rows go that stay: a new .jsonl file.")
@click.option(
    "--near", type=click.FloatRange(0.3, 1.0), metavar="SHARE", help="Drop rows that are alike from this share on."
)
@click.option("--dropped", metavar="FILE", help="List every row that goes, with its reason, in a new .jsonl file.")
@click.option("--split", type=click.Choice(("train", "eval")), default="train", show_default=True, help="Which rows.")
@set_option
@format_option()
def clean(
    recipe: str,
    output: str,
    near: float | None,
    dropped: str | None,
    split: str,
    overrides: tuple[str, ...],
    form: str,
) -> int:
    """Write the rows that are worth keeping into a new file, and say what was dropped and why.

    Broken and empty rows go, rows that stand there already, and of training rows those of the eval data.

    \b
    Examples:
      sftrun data clean recipe.yaml -o clean.jsonl
      sftrun data clean recipe.yaml -o clean.jsonl --near 0.9 --dropped dropped.jsonl
    """
    examined = examine_file(recipe, overrides)
    source, how = _source(examined, split)
    target, listed = _new(output, source), None if dropped is None else _new(dropped, source)
    if listed is not None and listed.resolve() == target.resolve():
        raise UsageError(f"`{output}` is named twice", help="name another file in `--dropped`")
    seen = Seen(near)
    if split == "train":
        for other in _evaluation(examined):
            cleaning.remember(*other, seen)
    told: dict[str, Any] = {"output": output, "rows": 0, "kept": 0, "dropped": {}}
    with _writing(target) as keep, _writing(listed) as note, bar("cleaning rows") as progress:
        tell = _telling(progress, _rows(examined, split))
        for one in cleaning.judged(source, how, seen):
            _count(told, one)
            if one.reason is None:
                keep(one.row)
            else:
                note({"file": one.place.file, "line": one.place.line, "reason": one.reason, "why": one.why})
            tell(told["rows"])
        if not told["kept"]:
            raise SftrunError("no row would be left", help="see `sftrun validate`, or drop less: leave out `--near`")
    _say(told, form, data_view.cleaned_lines(told))
    return 0


@click.command()
@recipe_argument
@click.option(
    "--eval", "share", type=click.FloatRange(0, 1, min_open=True, max_open=True), required=True, metavar="SHARE",
    help="The part of the rows that goes to eval.jsonl, like 0.1.",
)  # fmt: skip
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Where train.jsonl and eval.jsonl go.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Draw by this seed.  [default: `trainer.seed`]")
@click.option("--by", metavar="COLUMN", help="Keep rows together that have the same value there.")
@set_option
@format_option()
def split(
    recipe: str, share: float, output: str, seed: int | None, by: str | None, overrides: tuple[str, ...], form: str
) -> int:
    """Write the training rows into two new files, for training and evaluation.

    The same seed draws the same rows. Rows that say the same are never torn apart.

    \b
    Examples:
      sftrun data split recipe.yaml --eval 0.1 -o data
      sftrun data split recipe.yaml --eval 0.1 -o data --by conversation_id
    """
    examined = examine_file(recipe, overrides)
    source, how = _source(examined, "train")
    assert examined.loaded.recipe is not None
    drawn = examined.loaded.recipe.trainer.seed if seed is None else seed
    targets = {name: _new(str(Path(output, f"{name}.jsonl")), source) for name in ("train", "eval")}
    with bar("splitting rows") as progress:
        chosen = splitting.chosen(source, how, share, drawn, by, _telling(progress, _rows(examined, "train")))
        Path(output).mkdir(parents=True, exist_ok=True)
        with _writing(targets["train"]) as train, _writing(targets["eval"]) as evaluation:
            for one, is_eval in zip(splitting.rows(source, how, by), chosen, strict=True):
                (evaluation if is_eval else train)(one.row)
    told = {
        "train": {"file": str(targets["train"]), "rows": chosen.count(False)},
        "eval": {"file": str(targets["eval"]), "rows": chosen.count(True)},
        "seed": drawn,
    }
    _say(told, form, data_view.split_lines(told))
    return 0


def _source(examined: Examined, split: str) -> tuple[Files, How]:
    """The rows of a split and how they are read."""
    if examined.loaded.recipe is None or examined.gathered is None:
        click.echo(render(examined.diagnostics, examined.loaded.source), err=True)
        raise RecipeRejected("")
    found = list(_sources(examined, split))
    if not found:
        raise UsageError(f"the recipe has no `dataset.{split}`", help="leave out `--split`")
    if len(found) > 1:
        help = f"take one at a time: `--set dataset.{split}=FILE`"
        raise UsageError(f"`dataset.{split}` has {len(found)} sources", help=help)
    files, how = found[0]
    if not files.paths:
        key = f"dataset.{split}.path"
        problem = examined.gathered.problems.get(key)
        message = problem.message if problem else f"the rows of `dataset.{split}` are not on this machine"
        raise SftrunError(message, help=problem.help if problem else f"look at a copy: `--set dataset.{split}=FILE`")
    if how is None:
        raise SftrunError(f"the columns of `dataset.{split}` are no known format", help="run `sftrun validate`")
    return files, how


def _evaluation(examined: Examined) -> Iterator[tuple[Files, How]]:
    """Eval rows that can be read from here."""
    for found, how in _sources(examined, "eval"):
        if found.paths and how is not None:
            yield found, how


def _sources(examined: Examined, split: str) -> Iterator[tuple[Files, How | None]]:
    recipe, gathered = examined.loaded.recipe, examined.gathered
    assert recipe is not None
    assert gathered is not None
    rules = row_rules(recipe, gathered.facts.chat_template)
    for at, source in recipe.dataset.sources.items():
        if at[1] == split:
            found, own = gathered.facts.of(dotted(at)).files, source_rules(rules, source)
            yield found, count.decided(own, recipe.trainer.max_length, [Path(path) for path in found.paths])


def _rows(examined: Examined, split: str) -> int:
    """For a bar: about so many."""
    assert examined.gathered is not None
    facts = examined.gathered.facts.train if split == "train" else examined.gathered.facts.eval
    return 0 if facts is None else facts.rows + facts.rows_broken + facts.rows_misshapen


def _telling(progress: Progress | None, whole: int) -> Callable[[int], None]:
    """A bar hears of every hundredth row."""

    def tell(number: int) -> None:
        if progress is not None and number % 100 == 0:
            progress(min(number, whole), whole)

    return tell


def _new(name: str, source: Files) -> Path:
    """A file that is not there yet: rows are never written over rows."""
    path = Path(name)
    if path.suffix != ".jsonl":
        raise UsageError(f"`{name}` is no .jsonl file", help=f"write `{path.with_suffix('.jsonl')}`")
    if any(path.resolve() == Path(one).resolve() for one in source.paths):
        raise UsageError(f"`{name}` is a file of the recipe's own rows", help="name a new file")
    if path.exists() or path.is_symlink():
        raise UsageError(f"`{name}` is there already", help="name a new file, or remove that one first")
    return path


@contextmanager
def _writing(path: Path | None) -> Iterator[Any]:
    """Yields what takes a row; the file is there once all of them are."""
    if path is None:
        yield lambda row: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as beside, beside.open("w", encoding="utf-8") as stream:
        yield lambda row: _write(stream, row)


def _write(stream: IO[str], row: Row | None) -> None:
    # a table has dates, and JSON has none
    stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _count(told: dict[str, Any], one: Judged) -> None:
    told["rows"] += 1
    if one.reason is None:
        told["kept"] += 1
        return
    found = told["dropped"].setdefault(one.reason, {"rows": 0, "first": []})
    found["rows"] += 1
    if len(found["first"]) < FIRST:
        found["first"].append({"file": one.place.file, "line": one.place.line, "why": one.why})


def _say(told: dict[str, Any], form: str, lines: Iterator[str]) -> None:
    if form == "json":
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for line in lines:
        click.echo(line)
