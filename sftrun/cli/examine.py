"""The one path from a recipe's file to a plan: every command that reads a recipe comes through here.

load -> gather -> build -> check.  Problems are Diagnostics, all at once and in the order of the file; a command that
needs a plan calls `must`, which shows them and ends.  What plans is imported where a plan is made: a recipe that rents
nothing is checked without.
"""

import os
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sftrun.cli.settings import amount, text
from sftrun.cli.waiting import bar
from sftrun.diagnostics import Diagnostic, dotted
from sftrun.diagnostics import Path as At
from sftrun.errors import RecipeRejected
from sftrun.facts.gather import Gathered, Wanted, WantedSource, World, gather
from sftrun.plan.check.by_facts import can_be_estimated, check
from sftrun.recipe.evaluation_section import EvaluationData
from sftrun.recipe.labelling import row_rules, source_rules
from sftrun.recipe.load import Loaded, in_order, load
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source
from sftrun.run.folders import ledger_folder

if TYPE_CHECKING:
    from sftrun.errors import Problem
    from sftrun.facts.model.adapter import Place
    from sftrun.facts.values import Facts
    from sftrun.plan.types import Plan


class Examined(NamedTuple):
    """A recipe with all that could be found out about it; `plan` is None where an error stands in the way.

    It is None too where `examine` was asked for no more than the checks, and they needed none.
    """

    loaded: Loaded
    gathered: Gathered | None
    plan: "Plan | None"
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not any(found.severity == "error" for found in self.diagnostics)


def examine_file(
    file: str | Path, overrides: tuple[str, ...] = (), *, offline: bool = True, text: str | bytes | None = None
) -> Examined:
    """Read, gather, plan and check one recipe; never raises for what the recipe holds."""
    return examine(load(file, overrides, text=text), offline=offline)


def examine(loaded: Loaded, *, offline: bool = True, with_plan: bool = True) -> Examined:
    """The same for a recipe that was loaded already."""
    if loaded.recipe is None:
        return Examined(loaded, None, None, loaded.diagnostics)
    with bar() as progress:
        world = World(ledger_folder(), offline, own_prices(), machine_usd_per_hour(), progress)
        gathered = gather(wanted(loaded.recipe, loaded.folders, offline=offline), world)
    plan, found = None, [*loaded.diagnostics, *check(loaded.recipe, gathered.facts, gathered.problems)]
    if with_plan or can_be_estimated(loaded.recipe, gathered.facts):
        plan, more = _planned(loaded.recipe, gathered.facts, loaded.folders)
        found += more
    return Examined(loaded, gathered, plan, in_order(found, loaded.source))


def _planned(recipe: Recipe, facts: "Facts", folders: dict[str, str]) -> "tuple[Plan, list[Diagnostic]]":
    """The plan with its estimate, and what that gives rise to."""
    from sftrun.plan.build import build
    from sftrun.plan.check import estimated
    from sftrun.plan.estimate.total import priced

    plan_of = partial(build, facts=facts, folders=folders)
    plan = priced(plan_of(recipe), facts)
    return plan, list(estimated.check(plan, facts, plan_of))


def wanted(recipe: Recipe, folders: dict[str, str], *, offline: bool = True) -> Wanted:
    """What to ask the world about this recipe."""
    here = str(Path.cwd())
    return Wanted(
        adapter=_adapter(recipe, folders, offline),
        model=recipe.model.name_or_path,
        revision=recipe.model.revision,
        model_folder=folders.get("model.name_or_path", here),
        train=tuple(_source(at, one, recipe, folders) for at, one in recipe.dataset.train_sources.items()),
        eval=tuple(_source(at, one, recipe, folders) for at, one in recipe.dataset.eval_sources.items()),
        output=(recipe.output.dir, folders.get("output.dir", here)),
        volumes=recipe.volumes,
        engine=recipe.trainer.engine,
        local=recipe.place.is_here,
        trackers=() if recipe.trainer.report_to == "none" else recipe.trainer.report_to,
        rules=row_rules(recipe),
        max_length=recipe.trainer.max_length,
        template=_template(recipe, folders),
        **_evaluation(recipe, folders),
    )


def _evaluation(recipe: Recipe, folders: dict[str, str]) -> dict[str, tuple[str, str] | None]:
    tested, here = recipe.evaluation, str(Path.cwd())
    if tested is None:
        return {}
    schema = tested.json_schema
    return {
        "test": _path(tested.data, folders.get("evaluation.data.path", here)),
        "general": _path(tested.general, folders.get("evaluation.general.path", here)),
        "json_schema": None if schema is None else (schema, folders.get("evaluation.json_schema", here)),
    }


def _adapter(recipe: Recipe, folders: dict[str, str], offline: bool) -> "Place | Problem | None":
    if recipe.model.adapter is None:
        return None
    from sftrun.run import adapter_place

    beside = Path(folders.get("model.adapter", str(Path.cwd())))
    return adapter_place.find(recipe.model.adapter, beside, ledger_folder(), offline=offline)


def _template(recipe: Recipe, folders: dict[str, str]) -> tuple[str, str] | None:
    named = recipe.dataset.chat_template
    return None if named is None else (named, folders.get("dataset.chat_template", str(Path.cwd())))


def _path(source: EvaluationData | None, folder: str) -> tuple[str, str] | None:
    return None if source is None or source.path is None else (source.path, folder)


def _source(at: At, source: Source, recipe: Recipe, folders: dict[str, str]) -> WantedSource:
    key, rules = dotted(at), source_rules(row_rules(recipe), source)
    folder = folders.get(f"{key}.path", str(Path.cwd()))
    return WantedSource(key, source.path, folder, rules, source.max_examples, source.weight)


def must(examined: Examined) -> "Plan":
    """The plan, or the diagnostics on stderr and RecipeRejected."""
    import click

    from sftrun.report.show.carets import render

    if examined.diagnostics:
        click.echo(render(examined.diagnostics, examined.loaded.source), err=True)
    if examined.plan is None or not examined.ok:
        raise RecipeRejected("")
    return examined.plan


def own_prices() -> Path | None:
    """The file of negotiated rates that SFTRUN_PRICES or `[prices] file` of sftrun.toml names."""
    named = os.environ.get("SFTRUN_PRICES") or text("prices", "file", "prices.toml")
    return Path(named) if named else None


def machine_usd_per_hour() -> Decimal:
    """`[local] usd_per_hour` of sftrun.toml: what an hour of this machine is to count; 0 if it is not given."""
    return amount("local", "usd_per_hour", "1.20") or Decimal(0)
