"""What `estimate-cost` says, as values: one offer a GPU, the cheapest and the fastest, and what to change.  Pure.

The form of `estimate-cost --format json`.  Schema: `schemas/estimate-v1.schema.json`.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from sftrun import units
from sftrun.contract import executors
from sftrun.contract.choices import ExecutorName
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Facts
from sftrun.plan.check import advice, budget, estimated
from sftrun.plan.check.advice import Change, PlanOf
from sftrun.plan.check.budget import Verdict
from sftrun.plan.estimate import total
from sftrun.plan.estimate.learning import Observation
from sftrun.plan.estimate.total import Estimate
from sftrun.plan.types import CostEstimate, MemoryEstimate, Plan
from sftrun.recipe.models import Recipe
from sftrun.strict import Strict

TOO_SMALL: Final = "does not fit"


class Offer(Strict):
    """One GPU and its count on each of `nodes` machines.

    `usable` is false where it does not fit or can't run it: `why_not` says so, and there is no time and no price then.
    """

    gpu: str
    gpu_count: int
    nodes: int = 1
    is_recipes_own: bool
    usable: bool
    why_not: str | None
    seconds: float | None
    usd: Decimal | None
    memory: MemoryEstimate | None
    cost: CostEstimate | None


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
    plan_of: PlanOf,
    gpus: Sequence[tuple[str, int]],
    observed: tuple[Observation, ...] = (),
) -> RecipeEstimate:
    """The recipe on its own kinds of GPU, or on those asked for."""
    own = _own_gpus(recipe, facts)
    asked = tuple(gpus) or own
    pairs: list[tuple[Offer | None, Estimate]] = [
        _offer(recipe, facts, plan_of, gpu, observed, is_own=gpu in own) for gpu in asked
    ] or [_local(plan_of(recipe), facts, observed)]
    offers = tuple(offer for offer, _ in pairs if offer is not None)
    shown, first = next((pair for pair in pairs if pair[0] is not None and pair[0].is_recipes_own), pairs[0])
    main = recipe if not asked or set(own) & set(asked) else _on(recipe, asked[0])
    too_small = shown is not None and shown.why_not == TOO_SMALL
    best = advice.to_save(main, facts, plan_of, first) if shown is not None and shown.cost is not None else None
    usable = [offer for offer in offers if offer.usd is not None]
    plan, limit = plan_of(main), recipe.budget.max_usd
    train = total.data_facts(facts.train, recipe.dataset.train)
    return RecipeEstimate(
        file=file,
        name=recipe.name,
        model=recipe.model.name_or_path,
        executor=recipe.compute.executor,
        rows=train.rows if train else None,
        rows_source=("counted" if facts.train is not None else "declared") if train else None,
        steps=_steps(offers) if usable else plan.total_steps,
        offers=offers,
        cheapest=label(min(usable, key=lambda o: o.usd or 0)) if len(usable) > 1 else None,
        fastest=label(min(usable, key=lambda o: o.seconds or 0)) if len(usable) > 1 else None,
        to_fit=tuple(_advice(change) for change in advice.to_fit(main, facts, plan_of)) if too_small else (),
        to_save=_advice(best[0], best[1]) if best else None,
        budget_usd=limit,
        budget_verdict=_verdict(offers, limit),
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


def asked_gpus(text: str | None, recipe: Recipe, facts: Facts) -> tuple[tuple[str, int], ...]:
    """`all`, or names with counts set apart by commas; `all` keeps the recipe's own count, and whole machines whole.

    ValueError where a part is no GPU of the catalog or has no count.
    """
    if text is None:
        return ()
    if text.lower() != "all":
        return tuple(dict.fromkeys(_asked(part.strip(), facts) for part in text.split(",")))
    if recipe.compute.nodes > 1:
        return tuple((gpu.name, gpu.max_per_container) for gpu in facts.catalog.gpus)
    counts = sorted({1, *(count for _, count in _own_gpus(recipe, facts)[:1])})
    return tuple((gpu.name, n) for gpu in facts.catalog.gpus for n in counts if n <= gpu.max_per_container)


def _asked(text: str, facts: Facts) -> tuple[str, int]:
    name, colon, count = text.partition(":")
    gpu = catalog.find(facts.catalog, name)
    if name.lower() == "all":
        raise ValueError("`all` stands alone, without a number")
    if gpu is None:
        raise ValueError(f"no GPU `{name}`")
    if colon and not (count.isdecimal() and int(count) > 0):
        raise ValueError(f"`{count}` is no number of GPUs")
    return gpu.name, int(count or 1)


def _steps(offers: Sequence[Offer]) -> int | None:
    """Those on the recipe's own GPU, or else those on which all agree: more GPUs take fewer."""
    own = {offer.cost.steps for offer in offers if offer.cost is not None and offer.is_recipes_own}
    found = own or {offer.cost.steps for offer in offers if offer.cost is not None}
    return found.pop() if len(found) == 1 else None


def _own_gpus(recipe: Recipe, facts: Facts) -> tuple[tuple[str, int], ...]:
    """Those that the recipe asks for, the one it would have first, by the catalog's names."""
    if not recipe.compute.place.rents:
        return ()
    choices = units.gpu_choices(recipe.compute.gpu)
    known = {name: gpu.name for name, _ in choices if (gpu := catalog.find(facts.catalog, name)) is not None}
    return tuple(dict.fromkeys((known.get(name, name), count) for name, count in choices))


def _on(recipe: Recipe, gpu: tuple[str, int]) -> Recipe:
    return advice.changed(recipe, {"compute.gpu": f"{gpu[0]}:{gpu[1]}", "compute.executor": executors.MODAL.name})


def _offer(
    recipe: Recipe,
    facts: Facts,
    plan_of: PlanOf,
    gpu: tuple[str, int],
    observed: tuple[Observation, ...],
    *,
    is_own: bool,
) -> tuple[Offer | None, Estimate]:
    plan = plan_of(_on(recipe, gpu))
    found = total.estimate(plan, facts, observed)
    why_not = _why_not(plan, facts, gpu, found)
    return _filled(gpu[0], gpu[1], plan.compute.nodes, found, why_not, is_own=is_own), found


def _local(plan: Plan, facts: Facts, observed: tuple[Observation, ...]) -> tuple[Offer | None, Estimate]:
    """This machine's GPU, if the catalog knows it; nothing is rented."""
    found = total.estimate(plan, facts, observed)
    if found.cost is None:
        return None, found
    why_not = TOO_SMALL if found.memory is not None and not found.memory.fits else None
    return _filled(found.cost.gpu, found.cost.gpu_count, 1, found, why_not, is_own=True), found


def _filled(gpu: str, count: int, nodes: int, found: Estimate, why_not: str | None, *, is_own: bool) -> Offer:
    priced = found.cost if why_not is None else None
    return Offer(
        gpu=gpu,
        gpu_count=count,
        nodes=nodes,
        is_recipes_own=is_own,
        usable=why_not is None,
        why_not=why_not,
        seconds=total.seconds(priced) if priced else None,
        usd=total.usd(priced) if priced else None,
        memory=found.memory,
        cost=priced,
    )


def _why_not(plan: Plan, facts: Facts, gpu: tuple[str, int], found: Estimate) -> str | None:
    known = catalog.find(facts.catalog, gpu[0])
    if known is None:
        return "no such GPU"
    if gpu[1] > known.max_per_container:
        return f"at most {known.max_per_container} a container"
    if plan.compute.nodes > 1 and gpu[1] < known.max_per_container:
        return f"several machines need all their {known.max_per_container}"
    if not total.can_compute(plan, known):
        return "has no bf16"
    if found.memory is not None and not found.memory.fits:
        return TOO_SMALL
    return None


def label(offer: Offer) -> str:
    """`H100`, `H100:8`, `2 × H100:8`."""
    machine = offer.gpu if offer.gpu_count == 1 else f"{offer.gpu}:{offer.gpu_count}"
    return machine if offer.nodes == 1 else f"{offer.nodes} × {machine}"


def _advice(change: Change, times: float | None = None) -> Advice:
    return Advice(
        keys={key: advice.said(value) for key, value in change.keys},
        same_result=change.same_result,
        peak_gb=change.peak_gb,
        seconds=change.seconds,
        usd=change.usd,
        times=round(times, 2) if times is not None else None,
    )
