"""`sftrun costs`: what the ledger's runs have cost."""

import datetime
import sys
from decimal import Decimal

import click

from sftrun.cli.options import format_option
from sftrun.cli.settings import amount
from sftrun.plan.check.budget import Judgement, Span, judge_month
from sftrun.report import cost_sums as sums
from sftrun.report.cost_sums import By, Costs
from sftrun.run.folders import ledger_folder


@click.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Runs from this day on (UTC).")
@click.option("--by", type=click.Choice(("recipe", "tag", "gpu", "month")), default="recipe", show_default=True)
@format_option()
def command(since: datetime.datetime | None, by: By, form: str) -> int:
    """Add up what runs have cost.

    \b
    Examples:
      sftrun costs
      sftrun costs --since 2026-11-01 --by month
      sftrun costs --by tag --format json
    """
    today = datetime.datetime.now(datetime.UTC).date()
    runs = sums.read(ledger_folder())
    found = sums.costs(runs, by, since=since.date() if since else None, today=today, cap=month_cap())
    if form == "json":
        click.echo(found.model_dump_json(indent=2))
    elif not found.runs:
        click.echo(f"no runs in {ledger_folder()}" + (f" since {found.since}" if found.since else ""))
    else:
        _show(found)
    return 0


def month_cap() -> Decimal | None:
    """`month_usd` under [budget] in sftrun.toml: what a calendar month's runs may cost together."""
    return amount("budget", "month_usd", "200.00")


def month_so_far(found: Span | None) -> Judgement:
    """Whether the month's cap has room for it, beside what the ledger's runs have cost."""
    cap = month_cap()
    if cap is None:
        return Judgement("start")
    today = datetime.datetime.now(datetime.UTC).date()
    return judge_month(found, cap, sums.spent_in_month(sums.read(ledger_folder()), today))


def _show(found: Costs) -> None:
    from sftrun.report.show.terminal_cost import costs
    from sftrun.report.show.terminal_tables import console

    console(sys.stdout).print(costs(found))
