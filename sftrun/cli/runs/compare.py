"""`sftrun compare`: several runs on the rows that all of them have answered."""

import sys

import click

from sftrun.cli.options import complete_runs, format_option
from sftrun.cli.runs.evaluate import metric_names


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN…", shell_complete=complete_runs)
@click.option("--metrics", callback=metric_names, metavar="NAME,…", help="As the first run's evaluation if absent.")
@format_option()
def command(runs: tuple[str, ...], metrics: tuple[str, ...], form: str) -> int:
    """Hold the tuned models of several runs against that of the first one, row by row.

    Each run must have been evaluated on the same rows, by its recipe's `evaluation` or by `sftrun evaluate`. With three
    runs or more (other seeds, say) it is said how much the runs differ among themselves.

    \b
    Examples:
      sftrun compare quickstart 3f2a
      sftrun compare seed-1 seed-2 seed-3 --metrics exact_match --format json
    """
    from sftrun.cli.runs.watching import open_run
    from sftrun.errors import UsageError
    from sftrun.report.comparing import compare

    folders = [open_run(name)[0] for name in runs]
    if len({folder.id for folder in folders}) < 2:
        raise UsageError("one run can't be compared", help="name two runs or more, as `sftrun runs` lists them")
    found = compare(folders, metrics)  # type: ignore[arg-type]
    if form == "json":
        click.echo(found.model_dump_json(indent=2))
        return 0
    from sftrun.report.show.terminal_tables import console
    from sftrun.report.show.terminal_verdict import comparison

    console(sys.stdout).print(comparison(found))
    return 0
