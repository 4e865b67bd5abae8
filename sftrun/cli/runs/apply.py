"""`sftrun apply`: the main command.  What it does is in `applying`, imported only when it is to be done."""

import click

from sftrun.cli.options import format_option, recipe_argument, set_option


@click.command()
@recipe_argument
@set_option
@click.option("--dry-run", is_flag=True, help="Show the plan with its reasons and what it would write; start nothing.")
@click.option("--force", is_flag=True, help="Start over, also where a run of this recipe has finished.")
@click.option("--yes", is_flag=True, help="Don't ask before money is spent.")
@click.option("--detach", is_flag=True, help="Start it, print its id and leave it running.")
@click.option("--max-usd", metavar="USD", help="Short for --set budget.max_usd=USD.")
@format_option()
def command(
    recipe: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    force: bool,
    yes: bool,
    detach: bool,
    max_usd: str | None,
    form: str,
) -> int:
    """Start a recipe's run, attach to it, or resume it.

    The same recipe always finds its run again: one that has finished is left alone, one that runs is watched, one
    that stopped or failed goes on from its last checkpoint. Ctrl-C stops a local run with a checkpoint, a second one at
    once; from a run on Modal it detaches. Closing the terminal stops nothing.

    \b
    Examples:
      sftrun apply recipes/quickstart.yaml
      sftrun apply recipe.yaml --set trainer.max_steps=60 --dry-run
      sftrun apply recipe.yaml --detach
      sftrun apply recipe.yaml --format json | tee events.jsonl
    """
    from sftrun.cli.runs.applying import Wanted, apply

    asked = overrides if max_usd is None else (*overrides, f"budget.max_usd={_money(max_usd)}")
    wanted = Wanted(recipe, asked, dry_run=dry_run, force=force, is_agreed=yes, detach=detach, form=form)
    return apply(wanted)


def _money(text: str) -> str:
    from decimal import Decimal, InvalidOperation

    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0:
        raise click.BadParameter(f"`{text}` is no amount above zero", param_hint="--max-usd")
    return str(amount)
