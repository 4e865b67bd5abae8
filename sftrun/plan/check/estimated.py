"""Checks of memory, money and time, over a plan that has been estimated.

G103 it can't fit, G106 little to spare, G107 a cheaper GPU would do, G108 the machine's own memory, C102 above the
budget, C103 outlasts the timeout, C104 old prices.  Codes are explained in `recipe.words.codes`.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from sftrun import units
from sftrun.diagnostics import Diagnostic
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Facts
from sftrun.plan.check import advice, budget, epochs, several_gpus
from sftrun.plan.check.advice import TIGHT, Change, PlanOf
from sftrun.plan.estimate import host_memory, total
from sftrun.plan.types import CostEstimate, MemoryEstimate, Plan
from sftrun.recipe import known

# a cheaper GPU is named when it saves at least this share, and this much money
CHEAPER: Final = Decimal("0.8")
WORTH_USD: Final = Decimal("0.50")
PARTS_SAID: Final = 1


def check(plan: Plan, facts: Facts, plan_of: PlanOf) -> Iterator[Diagnostic]:
    """Every diagnostic of the plan's own estimate; `plan_of` resolves a changed recipe for the advice."""
    if plan.memory is not None:
        yield from _memory(plan, plan.memory, facts, plan_of)
        if plan.memory.fits:
            yield from _machine(plan, facts)
    if plan.cost is not None and plan.compute.place.rents:
        yield from _budget(plan)
        yield from _timeout(plan, plan.cost)
        if plan.memory is None or plan.memory.fits:
            yield from _cheaper(plan, plan.cost, facts, plan_of)
        yield from _prices(facts)
    yield from several_gpus.check(plan, facts)
    yield from epochs.out_of_reach(plan)


def _memory(plan: Plan, found: MemoryEstimate, facts: Facts, plan_of: PlanOf) -> Iterator[Diagnostic]:
    gpu = plan.compute.gpus[0] if plan.compute.gpus else "the GPU"
    needs = f"needs about {found.peak_gb:.1f} GB, `{gpu}` has {found.capacity_gb:.0f} GB"
    if not found.fits:
        biggest = max(found.parts, key=lambda part: part.gb)
        ways = advice.to_fit(plan.recipe, facts, plan_of)
        notes = tuple(f"also fits: {_way(way)}" for way in ways[1:])
        message = f"the run {needs}; most of it is {biggest.name} ({biggest.gb:.1f} GB)"
        yield Diagnostic("G103", message, at=_gpu_key(plan), help=_first(ways, plan), notes=notes)
    elif found.peak_gb > TIGHT * found.capacity_gb:
        help = _first(advice.to_fit(plan.recipe, facts, plan_of, most=1), plan)
        yield Diagnostic("G106", f"the run {needs}", at=_gpu_key(plan), severity="warning", help=help)


def _machine(plan: Plan, facts: Facts) -> Iterator[Diagnostic]:
    found, written = host_memory.held(plan, facts), plan.recipe.compute.memory
    if found is None:
        return
    at, smaller = _gpu_key(plan), "train an adapter (`lora`), or take a smaller model"
    has, help, gib = f"{known.MOST_GIB} GiB are the most to be asked for", smaller, float(known.MOST_GIB)
    if plan.compute.place.is_here:
        gib, at = facts.machine.memory_gb * 1e9 / 2**30, ("compute",)
        has = f"this machine has {gib:.0f} GiB"
    elif written is not None and plan.compute.memory_mib is not None:
        gib, at, has = plan.compute.memory_mib / 1024, ("compute", "memory"), f"`{written}` is asked for"
        help = f"write `memory: {min(found.gib, known.MOST_GIB)}GiB`, or take it out"
    if gib < found.gib:
        message = f"the run takes about {found.gib} GiB of the machine's memory, as {found.why}; {has}"
        yield Diagnostic("G108", message, at=at, severity="warning", help=help)


def _first(ways: tuple[Change, ...], plan: Plan) -> str:
    if ways:
        return f"write {_way(ways[0])}"
    if plan.compute.place.is_here:
        return "take a smaller model, or rent a GPU (`compute.executor: modal`)"
    return "take a smaller model: none of Modal's GPUs has room for this one"


def _way(way: Change) -> str:
    price = f", about {budget.money(way.usd)}" if way.usd else ""
    return f"{way.words} (peak {way.peak_gb:.1f} GB{price})"


def _budget(plan: Plan) -> Iterator[Diagnostic]:
    judged = budget.judge_each(plan.costs, plan.recipe.budget.max_usd)
    if judged.verdict == "refuse":
        yield Diagnostic("C102", judged.message, at=("budget", "max_usd"), help=judged.help)


def attempts_words(plan: Plan, found: CostEstimate) -> str:
    """How many attempts the run takes, and how many it may."""
    timeout, allowed = plan.recipe.compute.timeout, plan.compute.retries + 1
    taken = f"it would {'end in' if found.attempts <= allowed else 'need'} {found.attempts} attempts"
    may = f"of {allowed} allowed" if found.attempts <= allowed else f"`compute.retries` allows {allowed}"
    limit = f"{timeout} s" if isinstance(timeout, int) else timeout
    hours = total.seconds(found) / 3600
    return f"the run takes about {hours:.1f} h, an attempt ends after {limit}: {taken}, {may}"


def _timeout(plan: Plan, found: CostEstimate) -> Iterator[Diagnostic]:
    if found.attempts <= 1:
        return
    limit = plan.compute.timeout_seconds
    message = attempts_words(plan, found)
    longest = units.seconds("24h")
    help = (
        "write `compute.timeout: 24h`, the longest there is"
        if limit < longest
        else "make the run faster, or raise `compute.retries`"
    )
    yield Diagnostic("C103", message, at=("compute", "timeout"), severity="warning", help=help)


def _cheaper(plan: Plan, found: CostEstimate, facts: Facts, plan_of: PlanOf) -> Iterator[Diagnostic]:
    now, best = total.usd(found), None
    if now < WORTH_USD:
        return
    alone: dict[str, object] = {"compute.nodes": 1} if plan.compute.nodes > 1 else {}
    for gpu in facts.catalog.gpus:
        if gpu.name == found.gpu or not plan.compute.gpus:
            continue
        moved = plan_of(advice.changed(plan.recipe, {"compute.gpu": gpu.name, **alone}))
        if not total.can_compute(moved, gpu):
            continue
        other = total.estimate(moved, facts)
        if other.cost is None or other.memory is None or other.memory.peak_gb > TIGHT * gpu.memory_gb:
            continue
        if best is None or total.usd(other.cost) < best[1]:
            best = gpu.name, total.usd(other.cost), total.seconds(other.cost)
    if best is not None and best[1] < now * CHEAPER and now - best[1] >= WORTH_USD:
        message = f"`{found.gpu}` costs about {budget.money(now)} for this run, `{best[0]}` {budget.money(best[1])}"
        keys = f"`compute.gpu: {best[0]}`" + (" and `compute.nodes: 1`" if alone else "")
        slower = best[2] > total.seconds(found)
        help = f"write {keys}" + (" if time is no matter" if slower else ", which is faster too")
        yield Diagnostic("G107", message, at=_gpu_key(plan), severity="warning", help=help)


def _prices(facts: Facts) -> Iterator[Diagnostic]:
    prices = facts.catalog.prices
    age = catalog.age_days(prices, facts.today)
    if age > catalog.STALE_DAYS:
        message = f"the prices are {age} days old ({prices.date})"
        yield Diagnostic("C104", message, severity="warning", help="run `sftrun prices --refresh`", at=("compute",))


def _gpu_key(plan: Plan) -> tuple[str, ...]:
    return ("compute", "gpu") if plan.recipe.compute.gpu is not None else ("compute",)
