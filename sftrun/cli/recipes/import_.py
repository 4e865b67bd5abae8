"""`sftrun import`: a file of another tool becomes a recipe that does the same, or is refused with the reasons."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sftrun.errors import SftrunError

if TYPE_CHECKING:
    from sftrun.diagnostics import Diagnostic
    from sftrun.recipe.foreign.importing import Imported
    from sftrun.recipe.read.nodes import Source

EPILOG = """\b
Examples:
  sftrun import axolotl.yaml > recipe.yaml
  sftrun import llama3_lora_sft.yaml -o recipe.yaml
  sftrun import finetune_modal.py -o recipe.yaml
  sftrun import axolotl.yaml --lossy -o recipe.yaml

Each key is carried over, or stands in a comment with its line and the reason. Where
the run would be another, nothing is written, unless --lossy is given. What only you
know is marked TODO.

Exit status: 0 written, 1 not possible.
"""


@click.command("import", epilog=EPILOG)
@click.argument("file", type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="Write to this file, which must not exist, instead of stdout.")
@click.option("--lossy", is_flag=True, help="Write a recipe also where the run will be another; comments say by what.")
def command(file: str, output: str | None, lossy: bool) -> int:
    """Make a recipe from another tool's file, or from a Python script or notebook.

    Files of axolotl, LLaMA-Factory, TRL, Oumi, Soup and torchtune are known, and scripts that train with TRL or
    Unsloth, on Modal or not. A script is read and never run.
    """
    from sftrun.cli.recipes.migrate import read
    from sftrun.recipe.foreign.importing import imported
    from sftrun.recipe.foreign.script.script_file import MOST_BYTES

    most = MOST_BYTES if file.endswith(".ipynb") else None
    found = imported(read(file, most), file)
    if found.diagnostics and (found.is_refused or not lossy):
        return _refuse(found.diagnostics, found.source, f"{file}: {_count(len(found.diagnostics))}; nothing is written")
    if (wrong := _wrong(found, output)) is not None:
        return _refuse(*wrong, f"{file}: what it says is no valid recipe; nothing is written")
    _write(found, output)
    _say(found, output)
    return 0


def _refuse(diagnostics: "tuple[Diagnostic, ...]", source: "Source", verdict: str) -> int:
    from sftrun.report.show.carets import render, wants_colour

    colour = wants_colour(sys.stderr)
    click.echo(render(diagnostics, source, colour=colour) + "\n", err=True, color=colour)
    click.echo(verdict, err=True)
    return 1


def _wrong(found: "Imported", output: str | None) -> "tuple[tuple[Diagnostic, ...], Source] | None":
    """What is wrong with the recipe, and its source; None where it is right."""
    from sftrun.recipe.load import load

    loaded = load(output or "recipe.yaml", text=found.text)
    errors = tuple(one for one in loaded.diagnostics if one.severity == "error")
    return (errors, loaded.source) if errors else None


def _write(found: "Imported", output: str | None) -> None:
    if output is None and not found.files:
        sys.stdout.buffer.write(found.text.encode("utf-8"))
    elif output is None:
        names = ", ".join(f"`{name}`" for name in found.files)
        raise SftrunError(f"{names} goes beside the recipe, so stdout can't take it", help="write `-o recipe.yaml`")
    else:
        texts = {Path(output): found.text}
        texts |= {Path(output).parent / name: text for name, text in found.files.items()}
        for path in texts:
            if path.exists():
                raise SftrunError(f"`{path}` is there already", help="name another file, or remove it")
        for path, text in texts.items():
            _create(path, text)


def _create(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise SftrunError(f"`{path}` is there already", help="name another file, or remove it") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SftrunError(f"`{path}` can't be written: {reason}", help="check the folder") from error


def _say(found: "Imported", output: str | None) -> None:
    if found.diagnostics:
        click.echo(f"the run will be another in {_count(len(found.diagnostics))}; the comments say in which", err=True)
    for key, what in found.todo.items():
        click.echo(f"to fill in: `{key}`: {what}", err=True)
    if output is not None:
        click.echo(f"{output}: written; then `sftrun validate {output}`", err=True)


def _count(number: int) -> str:
    return f"{number} place{'' if number == 1 else 's'}"
