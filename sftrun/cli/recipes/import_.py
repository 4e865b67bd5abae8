"""`sftrun import`: a file of axolotl, LLaMA-Factory or TRL becomes a recipe."""

import sys
from pathlib import Path

import click

from sftrun.errors import SftrunError

EPILOG = """\b
Examples:
  sftrun import axolotl.yaml > recipe.yaml
  sftrun import llama3_lora_sft.yaml -o recipe.yaml

What could not be carried over stands in comments at the end; what only you know is marked TODO.
"""


@click.command("import", epilog=EPILOG)
@click.argument("file", type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="Write to this file, which must not exist, instead of stdout.")
def command(file: str, output: str | None) -> int:
    """Make a recipe from another tool's YAML (axolotl, LLaMA-Factory, TRL)."""
    from sftrun.cli.recipes.migrate import read
    from sftrun.recipe.foreign.importing import recipe_of

    text = recipe_of(read(file), file)
    if output is None:
        sys.stdout.buffer.write(text.encode("utf-8"))
        return 0
    try:
        with Path(output).open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise SftrunError(f"`{output}` is there already", help="name another file, or remove it") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SftrunError(f"`{output}` can't be written: {reason}", help="check the folder") from error
    click.echo(f"{output}: written; see its TODOs, then `sftrun validate {output}`", err=True)
    return 0
