"""`sftrun logs`: what the worker printed, as it printed it."""

import codecs
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
    offset, shown = 0, _Shown()
    while True:
        is_running = backend.holder(folder) is not None
        backend.sync_log(folder)
        for chunk in _new_bytes(folder.log, offset):
            offset += len(chunk)
            sys.stdout.write(shown.text(chunk))
        is_over = not follow or not is_running
        sys.stdout.write(shown.text(b"", is_last=is_over))
        sys.stdout.flush()
        if is_over:
            return 0
        time.sleep(POLL_SECONDS)


class _Shown:
    """A log as text that a terminal shows and does not obey, without keys; a carriage return begins a line.

    Whole lines alone: a key may stand over two chunks.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    def text(self, chunk: bytes, *, is_last: bool = False) -> str:
        from sftrun.disk.outside import printable
        from sftrun.recipe.secrets import mask

        said = self._rest + self._decode(chunk, is_last).replace("\r", "\n")
        whole, newline, self._rest = (said, "", "") if is_last else said.rpartition("\n")
        if len(self._rest) > _CHUNK_BYTES:  # a line without end
            whole, newline, self._rest = whole + newline + self._rest, "", ""
        return printable(mask(whole + newline))


def _print_build(folder: "RunFolder") -> int:
    from sftrun.disk.commands import read_text
    from sftrun.errors import LedgerError

    if not folder.build_log.exists():
        raise LedgerError(f"run {folder.id} has no `{folder.build_log}`: its image was there already, or it ran here")
    click.echo(_Shown().text(read_text(folder.build_log).encode(), is_last=True), nl=False)
    return 0


def _new_bytes(path: Path, offset: int) -> Iterator[bytes]:
    from sftrun.disk import outside
    from sftrun.disk.commands import translated

    if not path.exists():
        return
    with translated("read the log", path), outside.open_file(path) as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
