"""`sftrun migrate`: bring an older recipe to this version; comments, order and quotes stay."""

import sys
from pathlib import Path

import click

from sftrun.cli.options import complete_recipes
from sftrun.errors import SftrunError

EPILOG = """\b
Examples:
  sftrun migrate old.yaml
  sftrun migrate old.yaml --stdout | diff old.yaml -
  sftrun migrate recipes/*.yaml --check

Exit status: 0 done (or nothing to do), 1 not possible, or with --check something to do.
"""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=complete_recipes)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if there is something to migrate.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the migrated text, change nothing.")
def command(files: tuple[str, ...], check: bool, to_stdout: bool) -> int:
    """Bring recipes of the flat version 0 to version 1, as edits of their text."""
    from sftrun.recipe.migrations import migrate

    if to_stdout and len(files) > 1:
        raise click.UsageError("--stdout takes one file")
    waiting = 0
    for name in files:
        text = read(name)
        moved = migrate(text, name)
        waiting += moved != text
        if to_stdout:
            sys.stdout.buffer.write(moved.encode("utf-8"))
            continue
        if moved != text and not check:
            write(name, moved)
        click.echo(f"{name}: {_verdict(moved != text, check)}")
    return int(check and waiting > 0)


def read(name: str, most: int | None = None) -> str:
    """The text of a file of at most so many bytes (as a recipe, if absent), or SftrunError that says why not."""
    from sftrun.recipe.read.source import MAX_BYTES

    most = MAX_BYTES if most is None else most
    try:
        with Path(name).open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise SftrunError(f"`{name}` is larger than any recipe", help="check the file name")
        return data.decode("utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SftrunError(f"`{name}` can't be read: {reason}", help="check the file name") from error
    except UnicodeDecodeError as error:
        raise SftrunError(f"`{name}` is not UTF-8", help="save the file as UTF-8") from error


def write(name: str, text: str) -> None:
    """Write beside and rename, or SftrunError."""
    from sftrun.disk import files

    try:
        files.write(Path(name), text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SftrunError(f"`{name}` can't be written: {reason}", help="check its permissions") from error


def _verdict(changed: bool, check: bool) -> str:
    if not changed:
        return "version 1 already"
    return "to be migrated" if check else "migrated to version 1"
