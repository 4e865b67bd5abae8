"""`sftrun pull`: the results of a run, in a folder of the user's."""

from pathlib import Path

import click

from sftrun.cli.options import run_argument


@click.command()
@run_argument
@click.argument("folder", metavar="DIR", type=click.Path())
def command(run: str, folder: str) -> int:
    """Copy a run's adapter, tokenizer and report to DIR.

    DIR appears whole or not at all. An earlier pull there is replaced; anything else is left alone.

    \b
    Examples:
      sftrun pull quickstart ./adapter
      sftrun pull 3f2a ./adapter-3f2a
    """
    from sftrun.cli.runs.watching import keep_report, open_run
    from sftrun.disk.commands import write_file
    from sftrun.recipe.secrets import mask
    from sftrun.run.copy_results import pull
    from sftrun.run.execute import load, must_own_output

    found, backend = open_run(run)
    must_own_output(found, backend, help="`sftrun apply` its recipe to its end first")
    summary = keep_report(found, load(found, backend))

    def fill(beside: Path) -> None:
        backend.download(found, beside)
        write_file(beside / "report.json", mask(summary.model_dump_json(indent=2)) + "\n")

    pull(Path(folder), fill)
    click.echo(f"run {found.id} is in {folder}: {_size(Path(folder))}")
    return 0


def _size(folder: Path) -> str:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"
