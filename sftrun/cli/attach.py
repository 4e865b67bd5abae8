"""`sftrun attach`: watch a run that somebody started, and leave it running."""

import click

from sftrun.cli.options import format_option, run_argument


@click.command()
@run_argument
@format_option()
def command(run: str, form: str) -> int:
    """Watch a run that is under way. Ctrl-C detaches and stops nothing.

    \b
    Examples:
      sftrun attach quickstart
      sftrun attach 3f2a --format json
    """
    from sftrun.cli.watching import Interrupts, open_run, watch

    folder, backend = open_run(run)
    with Interrupts() as interrupts:
        return watch(folder, backend, interrupts, form=form, on_interrupt="detach")
