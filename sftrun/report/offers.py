"""What a recipe takes on one kind of GPU: of Modal's, a card that people own, or this machine's own.  Pure."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from sftrun import units
from sftrun.contract import executors
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Facts, Gpu, Machine
from sftrun.plan.check import advice
from sftrun.plan.check.advice import PlanOf
from sftrun.plan.estimate import total
from sftrun.plan.estimate.learning import Observation
from sftrun.plan.estimate.total import Estimate
from sftrun.plan.types import CostEstimate, MemoryEstimate, Plan
from sftrun.recipe.models import Recipe
from sftrun.strict import Strict

TOO_SMALL: Final = "does not fit"
PlanWith = Callable[[Facts], PlanOf]
_OTHERS: Final = {
    r"radeon|instinct|(rx|mi)[ -]?\d": "a GPU of AMD's",
    r"(arc|gaudi)": "one of Intel's",
    r"(tpu|trainium|inferentia)": "no GPU",
    r"m[1-9]( |-|$)|apple": "a GPU of Apple's",
}


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
    counts = sorted({1, *(count for _, count in own_gpus(recipe, facts)[:1])})
    return tuple((gpu.name, n) for gpu in facts.catalog.gpus for n in counts if n <= gpu.max_per_container)


def _asked(text: str, facts: Facts) -> tuple[str, int]:
    name, colon, count = text.partition(":")
    gpu = catalog.find(facts.catalog, name) or catalog.find_card(facts.catalog, name)
    if name.lower() == "all":
        raise ValueError("`all` stands alone, without a number")
    if gpu is None:
        maker = next((maker for pattern, maker in _OTHERS.items() if re.match(pattern, name, re.I)), None)
        raise ValueError(f"`{name}` is {maker}, and runs are on NVIDIA's" if maker else f"no GPU `{name}`")
    if colon and not (count.isdecimal() and int(count) > 0):
        raise ValueError(f"`{count}` is no number of GPUs")
    return gpu.name, int(count or 1)


def own_gpus(recipe: Recipe, facts: Facts) -> tuple[tuple[str, int], ...]:
    """Those that the recipe asks for, the one it would have first, by the catalog's names."""
    if not recipe.place.rents:
        return ()
    choices = units.gpu_choices(recipe.compute.gpu)
    known = {name: gpu.name for name, _ in choices if (gpu := catalog.find(facts.catalog, name)) is not None}
    return tuple(dict.fromkeys((known.get(name, name), count) for name, count in choices))


def placed(recipe: Recipe, facts: Facts, gpu: tuple[str, int]) -> tuple[Recipe, Facts]:
    """The recipe on so many of a GPU: rented from Modal, or in a machine with such cards and else like this one."""
    name, count = gpu
    card = catalog.find_card(facts.catalog, name)
    place = executors.MODAL if card is None else executors.LOCAL
    moved = advice.changed(recipe, {"compute.gpu": f"{name}:{count}", "compute.executor": place.name})
    return moved, facts if card is None else facts.model_copy(update={"machine": _with_cards(facts, card, count)})


def _with_cards(facts: Facts, card: Gpu, count: int) -> Machine:
    return facts.machine.model_copy(
        update={
            "gpu_name": card.name,
            "gpu_count": count,
            "gpu_memory_gb": card.memory_gb,
            "has_bf16": card.has_bf16,
            "usd_per_hour": card.usd_per_second * 3600 * count,
        }
    )


def offer(
    recipe: Recipe,
    facts: Facts,
    plan_with: PlanWith,
    gpu: tuple[str, int],
    observed: tuple[Observation, ...],
    *,
    is_own: bool,
) -> tuple[Offer | None, Estimate]:
    """On so many of a GPU."""
    moved, there = placed(recipe, facts, gpu)
    plan = plan_with(there)(moved)
    found = total.estimate(plan, there, observed)
    why_not = _why_not(plan, there, gpu, found)
    has_price = plan.compute.place.rents or there.machine.usd_per_hour > 0
    return _filled(gpu, plan.compute.nodes, found, why_not, is_own=is_own, has_price=has_price), found


def local(plan: Plan, facts: Facts, observed: tuple[Observation, ...]) -> tuple[Offer | None, Estimate]:
    """This machine's GPU, if the catalog knows it; nothing is rented."""
    found = total.estimate(plan, facts, observed)
    if found.cost is None:
        return None, found
    why_not = TOO_SMALL if found.memory is not None and not found.memory.fits else None
    gpu = (found.cost.gpu, found.cost.gpu_count)
    return _filled(gpu, 1, found, why_not, is_own=True, has_price=True), found


def _filled(
    gpu: tuple[str, int], nodes: int, found: Estimate, why_not: str | None, *, is_own: bool, has_price: bool
) -> Offer:
    priced = found.cost if why_not is None else None
    return Offer(
        gpu=gpu[0],
        gpu_count=gpu[1],
        nodes=nodes,
        is_recipes_own=is_own,
        usable=why_not is None,
        why_not=why_not,
        seconds=total.seconds(priced) if priced else None,
        usd=total.usd(priced) if priced and has_price else None,
        memory=found.memory,
        cost=priced,
    )


def _why_not(plan: Plan, facts: Facts, gpu: tuple[str, int], found: Estimate) -> str | None:
    known = total.gpu_of(plan, facts)
    if known is None:
        return "no such GPU"
    if gpu[1] > known.max_per_container:
        return f"at most {known.max_per_container} a {'container' if plan.compute.place.rents else 'machine'}"
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
