"""`sftrun ui`: a page of the runs of this folder."""

import json
import os
import sys

import click

from sftrun.cli.options import format_option


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of this machine; any that is free if absent."
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
@format_option()
def command(port: int, no_browser: bool, form: str) -> int:
    """Show the runs of this folder as a page: curves, cost, logs, comparisons, and a chat.

    The page is served to this machine alone, until Ctrl-C. Its address holds a token: who has it may look, stop a run
    and ask its models, and no more.

    \b
    Examples:
      sftrun ui
      sftrun ui --port 8123 --no-browser
    """
    import asyncio

    from sftrun.errors import UsageError
    from sftrun.run.ledger import Ledger
    from sftrun.ui.ledger_view import LedgerView
    from sftrun.ui.server import application, serve

    def ready(url: str) -> None:
        click.echo(json.dumps({"url": url}) if form == "json" else f"{url}   (Ctrl-C ends it)")
        sys.stdout.flush()
        if not no_browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(url)

    try:
        asyncio.run(serve(application(LedgerView(Ledger.open())), port, ready))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"port {port} can't be had: {reason}", help="leave --port out, for any that is free") from None
    return 0
