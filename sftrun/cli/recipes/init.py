"""`sftrun init`: a first recipe from data, each decision with its reason, checked and priced before it is written."""

import os
import sys
from pathlib import Path

import click

from sftrun.errors import SftrunError

EPILOG = """\b
Examples:
  sftrun init
  sftrun init questions.csv
  sftrun init train.jsonl --goal best --on modal --budget 20
  sftrun init train.jsonl --model Qwen/Qwen2.5-7B-Instruct -o seven.yaml
  sftrun init --list
  sftrun init --from quickstart

In a terminal, `sftrun init` alone asks for what it needs. Nothing is written before
all is answered, and no file is replaced without --force.
"""


@click.command(epilog=EPILOG)
@click.argument("data", required=False, metavar="[DATA]")
@click.option(
    "--model", metavar="NAME", help="A Hub id, a folder, or builtin:tiny; chosen by goal and place if absent."
)
@click.option("--goal", type=click.Choice(("try", "good", "best")), help="How far to go.  [default: good]")
@click.option("--on", "place", type=click.Choice(("here", "modal")), help="Where it runs; by what is there if absent.")
@click.option("--budget", metavar="USD", help="What the run may cost on Modal.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="What the run should take at most on Modal.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The recipe's file.  [default: recipe.yaml]")
@click.option("--from", "base", metavar="RECIPE", help="Copy a recipe that ships with the program, with its data.")
@click.option("--list", "lists", is_flag=True, help="List the recipes that ship with the program.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def command(
    data: str | None,
    model: str | None,
    goal: str | None,
    place: str | None,
    budget: str | None,
    hours: float | None,
    output: Path | None,
    base: str | None,
    lists: bool,
    force: bool,
) -> int:
    """Write a first recipe for DATA: a file, a folder, or a data set of the Hub."""
    if lists:
        return _list()
    if base is not None:
        return _copy(base, output, force)
    from sftrun.cli.starting import beginning

    asked = beginning.wishes(data, model=model, goal=goal, where=place, budget=budget, hours=hours)
    if asked is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError("name your data: `sftrun init questions.csv`, or `--from quickstart`")
        from sftrun.cli.starting import wizard

        asked = wizard.ask(model=model, goal=goal, where=place, budget=budget, hours=hours)
    file = output or Path("recipe.yaml")
    free(file, force)
    return beginning.begin(asked, file)


def free(file: Path, force: bool) -> None:
    """SftrunError where something stands at `file` that may not be replaced."""
    if file.exists() and not force:
        raise SftrunError(f"`{file}` is there already", help="name another by -o, or say --force to replace it")


def _list() -> int:
    from sftrun.cli.starting import shipped

    for one in shipped.listed():
        click.echo(f"{one.name}\n  {one.about}")
    click.echo("\ncopy one with its data: sftrun init --from quickstart")
    return 0


def _copy(base: str, output: Path | None, force: bool) -> int:
    from sftrun.cli.starting import shipped
    from sftrun.disk import files

    one = shipped.named(base)
    made = shipped.files_of(one, output or Path(f"{one.name}.yaml"))
    for path in made:
        free(path, force)
    for path, content in made.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, content)
        except OSError as error:
            raise SftrunError(f"`{path}` can't be written: {error.strerror}", help="check the folder") from error
        click.echo(f"{os.path.relpath(path)}: written")
    file = next(iter(made))
    click.echo(f"next: sftrun apply {file}")
    return 0
