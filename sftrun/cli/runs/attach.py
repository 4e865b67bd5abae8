"""`sftrun attach`: watch a run that somebody started, and leave it running."""

import click

from sftrun.cli.options import format_option, run_argument


@click.command()
@run_argument
@click.option("--volume", metavar="NAME", help="Find a run by its id on this Modal Volume, and put it into the ledger.")
@format_option()
def command(run: str, volume: str | None, form: str) -> int:
    """Watch a run that is under way. Ctrl-C detaches and stops nothing.

    \b
    Examples:
      sftrun attach quickstart
      sftrun attach 3f2a --format json
      sftrun attach 3f2a91c0de --volume checkpoints
    """
    from sftrun.cli.runs.watching import Interrupts, open_run, watch

    if volume is not None:
        from sftrun.run.ledger import Ledger
        from sftrun.run.modal.elsewhere import adopt

        adopt(Ledger.open(), run, volume)
    folder, backend = open_run(run)
    with Interrupts() as interrupts:
        return watch(folder, backend, interrupts, form=form, on_interrupt="detach")
