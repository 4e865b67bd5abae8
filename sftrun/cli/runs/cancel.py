"""`sftrun cancel`: ask a run to stop, or end it at once."""

import click

from sftrun.cli.options import run_argument


@click.command()
@run_argument
@click.option("--now", is_flag=True, help="End it at once; what came after the last checkpoint is lost.")
def command(run: str, now: bool) -> int:
    """Stop a run at its next step, with a checkpoint; `apply` goes on from there.

    \b
    Examples:
      sftrun cancel quickstart
      sftrun cancel 3f2a --now
    """
    from sftrun.cli.runs.watching import open_run
    from sftrun.run.execute import load

    folder, backend = open_run(run)
    state = load(folder, backend)
    if state.status not in ("running", "starting"):
        click.echo(f"nothing to do: run {folder.id} is not under way ({state.status})")
        return 0
    if now:
        backend.kill(folder)
        click.echo(f"run {folder.id} was ended at once; `{folder.manifest().command}` resumes it")
    else:
        backend.request_stop(folder)
        click.echo(f"run {folder.id} stops at its next step, with a checkpoint; `sftrun attach {folder.id}` shows it")
    return 0
