"""`sftrun estimate-cost`: memory, time and money before anything is started."""

import sys

import click

from sftrun.cli.examine import Examined, examine_file, must
from sftrun.cli.money.costs import month_so_far
from sftrun.cli.options import complete_recipes, format_option, piped, set_option
from sftrun.contract.executors import executor
from sftrun.errors import UsageError
from sftrun.facts.values import Facts
from sftrun.plan.build import build
from sftrun.plan.check.advice import PlanOf
from sftrun.report.estimates import Document, RecipeEstimate, dearest, document, of_recipe
from sftrun.report.observed import observations
from sftrun.report.offers import asked_gpus
from sftrun.run.folders import ledger_folder

# what these say is the very answer of this command, not a reason to refuse one
_OURS = {"G103", "C102"}


@click.command()
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...", shell_complete=complete_recipes)
@set_option
@click.option("--gpu", metavar="all|LIST", help="GPUs to compare: all of Modal's, or for example H100,H200:2,RTX-4090.")
@click.option("--offline", is_flag=True, help="Ask no network; a model that only the Hub knows is not estimated.")
@format_option()
def command(recipes: tuple[str, ...], overrides: tuple[str, ...], gpu: str | None, offline: bool, form: str) -> int:
    """Say what recipes will take in time, memory and money; - reads one from stdin.

    \b
    Examples:
      sftrun estimate-cost recipe.yaml
      sftrun estimate-cost recipe.yaml --gpu all
      sftrun estimate-cost recipe.yaml --set trainer.packing=true --gpu L4,A10,H100
      sftrun estimate-cost recipe.yaml --gpu RTX-4090,RTX-5090
      sftrun estimate-cost recipes/*.yaml --format json
    """
    stdin = piped(recipes)
    examined = [examine_file(file, overrides, offline=offline, text=stdin if file == "-" else None) for file in recipes]
    found = document([_estimate(one, gpu) for one in examined], _facts(examined[0]))
    if form == "json":
        click.echo(found.model_dump_json(indent=2))
    else:
        _show(found)
    return int(any(executor(one.executor).rents and one.missing for one in found.recipes))


def _estimate(examined: Examined, gpu: str | None) -> RecipeEstimate:
    facts, recipe = _facts(examined), examined.loaded.recipe
    assert recipe is not None
    try:
        wanted = asked_gpus(gpu, recipe, facts)
    except ValueError as error:
        known = ", ".join(one.name for one in (*facts.catalog.gpus, *facts.catalog.cards))
        raise UsageError(f"--gpu: {error}", help=f"write `all`, or choose from {known}; `H100:8` is eight") from None

    def plan_with(known: Facts) -> PlanOf:
        return lambda changed: build(changed, known, folders=examined.loaded.folders)

    seen = observations(ledger_folder(), facts.catalog)
    return of_recipe(str(examined.loaded.file), recipe, facts, plan_with, wanted, seen)


def _facts(examined: Examined) -> Facts:
    errors = [found for found in examined.diagnostics if found.severity == "error" and found.code not in _OURS]
    if errors or examined.gathered is None:
        must(examined)
    assert examined.gathered is not None
    return examined.gathered.facts


def _show(found: Document) -> None:
    from sftrun.report.show.terminal_cost import estimates
    from sftrun.report.show.terminal_tables import console

    out = console(sys.stdout)
    out.print(estimates(found))
    judged = month_so_far(dearest(found))
    if judged.verdict != "start":
        out.print(f"{judged.message}, so that `apply` {'asks first' if judged.verdict == 'ask' else 'refuses'}")
