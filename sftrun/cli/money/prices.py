"""`sftrun prices`: what things cost, when that was true, and where it was read."""

import datetime
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import click

from sftrun.cli.examine import own_prices
from sftrun.cli.options import format_option
from sftrun.disk.commands import make_folder, write_file
from sftrun.errors import RemoteError
from sftrun.facts.gpus import catalog
from sftrun.run.folders import ledger_folder


@click.command()
@click.option("--refresh", is_flag=True, help="Ask Modal for the account's own rates and keep them in the ledger.")
@format_option()
def command(refresh: bool, form: str) -> int:
    """List the prices that estimates rest on, and their date.

    The later of these wins: the prices that come with sftrun, the account's own (--refresh), a file of negotiated
    rates (SFTRUN_PRICES, or `file` under [prices] in sftrun.toml).

    \b
    Examples:
      sftrun prices
      sftrun prices --refresh
      SFTRUN_PRICES=rates.toml sftrun prices --format json
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    kept = ledger_folder() / catalog.ACCOUNT_FILE
    if refresh:
        content = catalog.from_rates(fetch_rates(), today)
        make_folder(kept.parent)
        write_file(kept, catalog.dump(content))
        click.echo(f"kept {len(content['gpu_usd_per_hour'])} GPU rates in {kept}", err=True)
    found = catalog.load(kept, own_prices())
    age = catalog.age_days(found.prices, today)
    if form == "json":
        click.echo(catalog.document(found, age))
        return 0
    from sftrun.report.show.terminal_cost import prices
    from sftrun.report.show.terminal_tables import console

    console(sys.stdout).print(prices(found, age))
    if age > catalog.STALE_DAYS:
        click.echo(f"warning: the prices are {age} days old; `sftrun prices --refresh` asks Modal", err=True)
    return 0


def fetch_rates() -> Mapping[str, Decimal]:
    """The account's rates by Modal's own keys; RemoteError where Modal can't be asked."""
    import modal  # slow to import, and wanted here alone

    from sftrun.run.modal.wire_errors import translated

    with translated():
        workspace: Any = modal.Workspace.from_context()
        rates: Mapping[str, Decimal] = dict(workspace.billing.rates())
    if not any(key in catalog.RATE_KEYS for key in rates):
        raise RemoteError("Modal gave no rate that this version knows", help="write a file of rates (SFTRUN_PRICES)")
    return rates
