"""`sftrun logs`: what the worker printed, as it printed it."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sftrun.cli.options import run_argument

if TYPE_CHECKING:
    from sftrun.run.ledger import RunFolder

_CHUNK_BYTES = 1 << 16


@click.command()
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--build", is_flag=True, help="The log of the image's build on Modal instead.")
def command(run: str, follow: bool, build: bool) -> int:
    """Print the output of a run's worker.

    \b
    Examples:
      sftrun logs quickstart
      sftrun logs quickstart -f
      sftrun logs quickstart --build
    """
    from sftrun.cli.runs.watching import open_run
    from sftrun.errors import LedgerError
    from sftrun.run.execute import POLL_SECONDS

    folder, backend = open_run(run)
    if build:
        return _print_build(folder)
    backend.sync_log(folder)
    if not folder.log.exists() and not follow:
        raise LedgerError(f"run {folder.id} has no `{folder.log}`: its worker never began", help=f"`sftrun show {run}`")
    offset = 0
    while True:
        is_running = backend.holder(folder) is not None
        backend.sync_log(folder)
        for chunk in _new_bytes(folder.log, offset):
            offset += len(chunk)
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        if not follow or not is_running:
            return 0
        time.sleep(POLL_SECONDS)


def _print_build(folder: "RunFolder") -> int:
    from sftrun.disk.commands import read_text
    from sftrun.errors import LedgerError

    if not folder.build_log.exists():
        raise LedgerError(f"run {folder.id} has no `{folder.build_log}`: its image was there already, or it ran here")
    click.echo(read_text(folder.build_log), nl=False)
    return 0


def _new_bytes(path: Path, offset: int) -> Iterator[bytes]:
    from sftrun.disk.commands import translated

    if not path.exists():
        return
    with translated("read the log", path), path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
