"""All checks that need more than the recipe, in one list: facts that could not be had, model, data, GPU, money."""

from collections.abc import Iterator, Mapping

from sftrun.diagnostics import Diagnostic
from sftrun.facts.model_headers import Problem
from sftrun.facts.models import Facts
from sftrun.plan import checks_cost
from sftrun.plan.advice import PlanOf
from sftrun.plan.checks_model import check_model
from sftrun.plan.models import Plan
from sftrun.recipe.models import Recipe

# a fact that is only out of reach is no fault of the recipe: the plan says what it rests on instead
_NO_FAULT = {"unreachable", "unknown"}
_CODES = {"model": {"unsafe": "M109"}, "dataset": {"unsafe": "D106"}}
_OTHERWISE = {"model": "M107", "dataset": "D101"}


def check(
    recipe: Recipe, facts: Facts, problems: Mapping[str, Problem], plan: Plan, plan_of: PlanOf
) -> Iterator[Diagnostic]:
    """Every diagnostic that model, data, GPU and money give rise to; `plan_of` plans a changed recipe, for advice."""
    yield from _missing(problems)
    if facts.model is not None:
        yield from check_model(recipe, facts.model)
    yield from checks_cost.check(plan, facts, plan_of)


def _missing(problems: Mapping[str, Problem]) -> Iterator[Diagnostic]:
    for key, problem in problems.items():
        if problem.kind not in _NO_FAULT:
            section = key.partition(".")[0]
            code = _CODES[section].get(problem.kind, _OTHERWISE[section])
            yield Diagnostic(code, problem.message, at=tuple(key.split(".")), help=problem.help)
