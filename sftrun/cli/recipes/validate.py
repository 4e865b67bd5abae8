"""`sftrun validate`: every problem of every recipe, at its line, before any money is spent."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from sftrun.cli.options import complete_recipes, format_option, piped, set_option
from sftrun.cli.recipes.recipe_files import recipes_below
from sftrun.diagnostics import Diagnostic
from sftrun.recipe.load import Loaded, load

EPILOG = """\b
Examples:
  sftrun validate recipe.yaml
  sftrun validate recipes/ --strict
  sftrun validate recipe.yaml --set trainer.max_steps=60
  cat recipe.yaml | sftrun validate - --format json
  sftrun validate recipe.yaml --fix

Exit status: 0 valid (warnings allowed), 1 invalid, 2 wrong use.
"""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER|GLOB|-...", shell_complete=complete_recipes)
@set_option
@format_option("github")
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option("--fix", is_flag=True, help="Write the certain corrections into the files: misspelt keys and the like.")
@click.option("--offline", is_flag=True, help="Ask no network; what only the Hub knows is not checked.")
def command(
    files: tuple[str, ...], overrides: tuple[str, ...], form: str, strict: bool, fix: bool, offline: bool
) -> int:
    """Check recipes to the line and column; nothing is run and nothing is spent."""
    if fix and "-" in files:
        raise click.UsageError("--fix writes into files, and `-` is none")
    names = list(dict.fromkeys(found for name in files for found in expanded(name)))
    stdin = piped(names)
    judged, corrected = [], 0
    for name in names:
        if fix:
            corrected += _mend(name, overrides)
        loaded, diagnostics = judge(name, overrides, stdin if name == "-" else None, offline=offline)
        judged.append((loaded, tuple(_strict(diagnostics) if strict else diagnostics)))
    _show(judged, form, corrected)
    return int(any(one.severity == "error" for _, found in judged for one in found))


def expanded(name: str) -> Iterator[str]:
    """The recipes that a file, folder, glob or `-` names; UsageError where there is none."""
    path = Path(name)
    if name == "-" or path.is_file():
        yield name
    elif path.is_dir():
        yield from _some(recipes_below(path), f"no recipe in the folder `{name}`")
    elif any(sign in name for sign in "*?["):
        from glob import glob

        yield from _some(sorted(glob(name, recursive=True)), f"no file matches `{name}`")
    else:
        yield name  # its diagnostic says that it is missing


def judge(
    name: str, overrides: tuple[str, ...], text: bytes | None, *, offline: bool
) -> tuple[Loaded, tuple[Diagnostic, ...]]:
    """One recipe with everything that can be found out about it."""
    loaded = load(name, overrides, text=text)
    if loaded.recipe is None:
        return loaded, loaded.diagnostics
    from sftrun.cli.examine import examine

    return loaded, examine(loaded, offline=offline, with_plan=False).diagnostics


def _some(found: Iterable[str], otherwise: str) -> list[str]:
    names = list(found)
    if not names:
        raise click.UsageError(otherwise)
    return names


def _strict(found: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    return (one._replace(severity="error") for one in found)


def _mend(name: str, overrides: tuple[str, ...]) -> int:
    from sftrun.recipe.mending import mend

    return mend(name, overrides)


Judged = list[tuple[Loaded, tuple[Diagnostic, ...]]]


def _show(judged: Judged, form: str, corrected: int) -> None:
    if form == "text":
        _show_text(judged, corrected)
        return
    from sftrun.report.show import as_json

    files = [(loaded.source.file, found, loaded.source) for loaded, found in judged]
    if form == "json":
        click.echo(as_json.document(files))
    else:
        lines = as_json.annotations(files)
        click.echo(lines, nl=bool(lines))


def _show_text(judged: Judged, corrected: int) -> None:
    from sftrun.report.show.carets import Pen, render, wants_colour

    colour = wants_colour(sys.stdout)
    pen = Pen(colour)
    for loaded, found in judged:
        if found:
            click.echo(render(found, loaded.source, colour=colour) + "\n", color=colour)
    if corrected:
        click.echo(f"corrected {_count(corrected, 'place')}")
    for loaded, found in judged:
        errors = sum(one.severity == "error" for one in found)
        verdict = pen("error", _count(errors, "error")) if errors else pen("good", "ok")
        warnings = len(found) - errors
        more = f", {_count(warnings, 'warning')}" if warnings else ""
        click.echo(f"{loaded.source.file}: {verdict}{more}", color=colour)
        if errors and (could := _could(loaded)):
            click.echo(could, err=True)


def _could(loaded: Loaded) -> str:
    """What `--fix` would do: how much `--fix` would mend; nothing of what stands in no file."""
    from sftrun.recipe.mending import corrected

    file = loaded.source.file
    text = loaded.source.texts.get(file)
    done = corrected(file, text)[1] if text and Path(file).is_file() else 0
    return f"`sftrun validate {file} --fix` mends {_count(done, 'place')}" if done else ""


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
