"""`sftrun report`: a run's report, for people, for machines, or as a page to forward."""

from pathlib import Path

import click

from sftrun.cli.options import billed_option, format_option, run_argument
from sftrun.errors import UsageError


@click.command()
@run_argument
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one self-contained page; - is stdout."
)
@billed_option
@format_option()
def command(run: str, html: Path | None, billed: bool, form: str) -> int:
    """Write a run's report: time, memory and money against the estimate, losses, samples before and after.

    \b
    Examples:
      sftrun report quickstart
      sftrun report quickstart --html report.html
      sftrun report census --billed
      sftrun report 3f2a --format json
    """
    if str(html) == "-" and form == "json":
        raise UsageError("`--html -` and `--format json` both print", help="write the page to a file")
    from sftrun.cli.runs.watching import keep_report, open_run, show
    from sftrun.recipe.secrets import mask
    from sftrun.run import billing
    from sftrun.run.execute import load

    folder, backend = open_run(run)
    if billed:
        billing.write(folder, backend.ask_billed(folder))
    summary = keep_report(folder, load(folder, backend))
    if html is not None:
        from sftrun.disk.commands import write_file
        from sftrun.report.show.html import curves, page
        from sftrun.run.tail import Tail

        text = page(summary, folder.plan(), curves(Tail(folder.events).read()))
        if str(html) == "-":
            click.echo(text, nl=False)
            return 0
        write_file(html, text)
        click.echo(f"wrote {html}", err=True)
    if form == "json":
        click.echo(mask(summary.model_dump_json(indent=2)))
    elif html is None:
        show(summary)
    return 0
