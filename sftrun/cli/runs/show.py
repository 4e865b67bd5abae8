"""`sftrun show`: one run, in figures."""

import click

from sftrun.cli.options import billed_option, format_option, run_argument


@click.command()
@run_argument
@billed_option
@format_option()
def command(run: str, billed: bool, form: str) -> int:
    """Show one run: its state, losses, samples, time and money.

    \b
    Examples:
      sftrun show quickstart
      sftrun show 3f2a --billed
      sftrun show quickstart --format json | jq .loss_last
    """
    from sftrun.cli.runs.watching import keep_report, open_run, show
    from sftrun.recipe.secrets import mask
    from sftrun.run import billing
    from sftrun.run.execute import load
    from sftrun.run.lost import explain_loss

    folder, backend = open_run(run)
    if billed:
        billing.write(folder, backend.ask_billed(folder))
    state = load(folder, backend)
    summary = keep_report(folder, state)
    if form == "json":
        click.echo(mask(summary.model_dump_json(indent=2)))
        return 0
    show(summary)
    for line in backend.about(folder):
        click.echo(f"  {line}")
    if state.status == "lost":
        click.echo(f"  {explain_loss(folder, state)}\n  help: `{folder.manifest().command}` resumes it")
    return 0
