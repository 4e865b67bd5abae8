"""`sftrun runs`: the ledger as a list."""

import json
import sys
import time
from pathlib import Path

import click

from sftrun.cli.main import show_error
from sftrun.cli.options import format_option
from sftrun.contract.executors import executor
from sftrun.errors import SftrunError
from sftrun.run.folders import ledger_folder
from sftrun.run.listing import Row, rows


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The latest N runs.")
@click.option("--refresh", is_flag=True, help="Ask Modal how its runs stand.")
@format_option()
def command(limit: int, refresh: bool, form: str) -> int:
    """List the runs of this folder, the latest first.

    Runs are kept in .sftrun/ of the working folder, or where SFTRUN_HOME says.

    \b
    Examples:
      sftrun runs
      sftrun runs --refresh
      sftrun runs --limit 5 --format json
    """
    root = ledger_folder()
    code = _refresh(root) if refresh else 0
    listed = rows(root)
    if form == "json":
        click.echo(json.dumps({"runs": [row._asdict() for row in listed[:limit]], "count": len(listed)}, indent=2))
    elif not listed:
        click.echo(f"no runs in {root} yet; `sftrun apply recipes/quickstart.yaml` makes the first")
    else:
        _table(listed, limit)
    return code


def _refresh(root: Path) -> int:
    """Bring the events of runs elsewhere; one that has stopped or failed here may have been resumed since.

    A run that can't be asked for is said, once for each reason, and stands in nobody's way.  Returns an exit code.
    """
    from sftrun.run.backend import choose
    from sftrun.run.execute import load
    from sftrun.run.ledger import Ledger

    ledger, failed = Ledger(root), dict[str, SftrunError]()
    for row in rows(root):
        if row.status in ("finished", "damaged") or not executor(row.executor).is_elsewhere:
            continue
        try:
            load(ledger.folder(row.id), choose(row.executor, ledger))
        except SftrunError as error:
            failed[error.message] = error
    for each in failed.values():
        show_error(each)
    return next((each.exit_code for each in failed.values()), 0)


def _table(listed: list[Row], limit: int) -> None:
    from sftrun.report.show.terminal_tables import console, runs_table

    console(sys.stdout).print(runs_table(listed[:limit], time.time()))
    if len(listed) > limit:
        click.echo(f"… and {len(listed) - limit:,} older: --limit {len(listed)} shows them")
