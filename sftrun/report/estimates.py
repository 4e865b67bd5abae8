"""What `estimate-cost` says, as values: one offer a GPU, the cheapest and the fastest, and what to change.  Pure.

The form of `estimate-cost --format json`.  Schema: `schemas/estimate-v1.schema.json`.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from sftrun.contract.choices import ExecutorName
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Facts
from sftrun.plan.check import advice, budget, estimated
from sftrun.plan.check.advice import Change
from sftrun.plan.check.budget import Verdict
from sftrun.plan.estimate.known_rows import train_rows
from sftrun.plan.estimate.learning import Observation
from sftrun.plan.estimate.total import Estimate
from sftrun.plan.types import CostEstimate, Plan
from sftrun.recipe.models import Recipe
from sftrun.report import offers
from sftrun.report.offers import TOO_SMALL, Offer, PlanWith, label
from sftrun.strict import Strict


class Advice(Strict):
    """A change of the recipe: keys with their values, the peak that it would have, and how many times less it takes."""

    keys: dict[str, str]
    same_result: bool
    peak_gb: float
    seconds: float | None
    usd: Decimal | None
    times: float | None


class RecipeEstimate(Strict):
    """One recipe on all GPUs asked for."""

    file: str
    name: str
    model: str
    executor: ExecutorName
    rows: int | None
    rows_source: Literal["counted", "declared"] | None
    steps: int | None
    offers: tuple[Offer, ...]
    cheapest: str | None
    fastest: str | None
    to_fit: tuple[Advice, ...]
    to_save: Advice | None
    budget_usd: Decimal | None = None
    budget_verdict: Verdict | None = None
    note: str | None
    missing: tuple[str, ...]


class Document(Strict):
    """Everything that one call says; the sum is over each recipe's own GPU, or the only one that was asked for."""

    version: Literal[1] = 1
    prices_date: str
    prices_source: str
    prices_age_days: int
    recipes: tuple[RecipeEstimate, ...]
    usd_low: Decimal
    usd_high: Decimal
    seconds: float


def document(found: Sequence[RecipeEstimate], facts: Facts) -> Document:
    """Several recipes and their sum."""
    priced = [offer for one in found if (offer := summed(one)) is not None]
    prices, together = facts.catalog.prices, _sum(offer.cost for offer in priced)
    return Document(
        prices_date=prices.date,
        prices_source=prices.source,
        prices_age_days=catalog.age_days(prices, facts.today),
        recipes=tuple(found),
        usd_low=together.usd_low,
        usd_high=together.usd_high,
        seconds=sum(o.seconds or 0.0 for o in priced),
    )


def chosen(one: RecipeEstimate) -> Offer | None:
    """The one whose parts are shown: on the recipe's own GPU, or on the only one that was asked for."""
    return next((o for o in one.offers if o.is_recipes_own), one.offers[0] if len(one.offers) == 1 else None)


def summed(one: RecipeEstimate) -> Offer | None:
    """The same where it has a price."""
    offer = chosen(one)
    return offer if offer is not None and offer.cost is not None else None


class Sum(NamedTuple):
    """USD of several runs."""

    usd_low: Decimal
    usd_high: Decimal


def dearest(found: Document) -> Sum:
    """Each recipe on the dearest of its own kinds of GPU, as `apply` judges a month's cap."""
    return _sum(
        max(own, key=lambda cost: cost.usd_high)
        for one in found.recipes
        if (own := [o.cost for o in one.offers if o.cost and (o.is_recipes_own or o is chosen(one))])
    )


def _sum(costs: Iterable[CostEstimate | None]) -> Sum:
    known = [cost for cost in costs if cost is not None]
    return Sum(sum((c.usd_low for c in known), Decimal(0)), sum((c.usd_high for c in known), Decimal(0)))


def of_recipe(
    file: str,
    recipe: Recipe,
    facts: Facts,
    plan_with: PlanWith,
    gpus: Sequence[tuple[str, int]],
    observed: tuple[Observation, ...] = (),
) -> RecipeEstimate:
    """The recipe on its own kinds of GPU, or on those asked for."""
    own = offers.own_gpus(recipe, facts)
    asked = tuple(gpus) or own
    pairs: list[tuple[Offer | None, Estimate]] = [
        offers.offer(recipe, facts, plan_with, gpu, observed, is_own=gpu in own) for gpu in asked
    ] or [offers.local(plan_with(facts)(recipe), facts, observed)]
    found = tuple(offer for offer, _ in pairs if offer is not None)
    shown, first = next((pair for pair in pairs if pair[0] is not None and pair[0].is_recipes_own), pairs[0])
    is_own = not asked or set(own) & set(asked)
    main, facts = (recipe, facts) if is_own else offers.placed(recipe, facts, asked[0])
    plan_of = plan_with(facts)
    too_small = shown is not None and shown.why_not == TOO_SMALL
    best = advice.to_save(main, facts, plan_of, first) if shown is not None and shown.cost is not None else None
    usable = [offer for offer in found if offer.seconds is not None]
    priced = [offer for offer in usable if offer.usd is not None]
    plan, limit = plan_of(main), recipe.budget.max_usd
    train = train_rows(recipe, facts)
    return RecipeEstimate(
        file=file,
        name=recipe.name,
        model=recipe.model.name_or_path,
        executor=recipe.executor,
        rows=train.rows if train else None,
        rows_source=("counted" if facts.train is not None else "declared") if train else None,
        steps=_steps(found) if usable else plan.total_steps,
        offers=found,
        cheapest=label(min(priced, key=lambda o: o.usd or 0)) if len(priced) > 1 else None,
        fastest=label(min(usable, key=lambda o: o.seconds or 0)) if len(usable) > 1 else None,
        to_fit=tuple(_advice(change) for change in advice.to_fit(main, facts, plan_of)) if too_small else (),
        to_save=_advice(best[0], best[1]) if best else None,
        budget_usd=limit,
        budget_verdict=_verdict(found, limit),
        note=" ".join(filter(None, (first.note, _endless(plan, first.cost)))) or None,
        missing=first.missing,
    )


def _verdict(offers: Sequence[Offer], limit: Decimal | None) -> Verdict | None:
    """What `apply` would do about the budget, on any of the recipe's own kinds of GPU."""
    own = [offer.cost for offer in offers if offer.is_recipes_own and offer.cost is not None]
    return budget.judge_each(own, limit).verdict if own and limit is not None else None


def _endless(plan: Plan, found: CostEstimate | None) -> str:
    """What keeps a run from ending: more attempts than it is allowed."""
    if found is None or found.attempts <= plan.compute.retries + 1:
        return ""
    return f"{estimated.attempts_words(plan, found)}."


def _steps(offers: Sequence[Offer]) -> int | None:
    """Those on the recipe's own GPU, or else those on which all agree: more GPUs take fewer."""
    own = {offer.cost.steps for offer in offers if offer.cost is not None and offer.is_recipes_own}
    found = own or {offer.cost.steps for offer in offers if offer.cost is not None}
    return found.pop() if len(found) == 1 else None


def _advice(change: Change, times: float | None = None) -> Advice:
    return Advice(
        keys={key: advice.said(value) for key, value in change.keys},
        same_result=change.same_result,
        peak_gb=change.peak_gb,
        seconds=change.seconds,
        usd=change.usd,
        times=round(times, 2) if times is not None else None,
    )
