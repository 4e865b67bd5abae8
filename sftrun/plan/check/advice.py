"""What to change: the smallest changes that make a run fit, and the one that would save most.  Pure.

A change is a few keys of the recipe.  Each candidate is resolved and estimated like the recipe itself, so that what is
promised is what `--set` of these keys would show.  Changes that leave the result alone come first.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sftrun.contract import engines
from sftrun.facts.values import Facts, Gpu
from sftrun.plan.estimate import total as estimates
from sftrun.plan.estimate.total import Estimate
from sftrun.plan.types import CostEstimate, Plan
from sftrun.recipe.known import SHARDED_OPTIMIZERS
from sftrun.recipe.models import Quantization, Recipe

PlanOf = Callable[[Recipe], Plan]
# a saving smaller than this is not worth a word
WORTH_SAYING: Final = 1.1
SHORTEST_ROWS: Final = 256
# of a GPU's memory: what is above may not hold for a batch that is longer than expected
TIGHT: Final = 0.9


class Change(NamedTuple):
    """Keys and their new values, with what the run would then need.  `same_result`: it learns the same."""

    keys: tuple[tuple[str, object], ...]
    same_result: bool
    peak_gb: float
    fits: bool
    seconds: float | None = None
    usd: Decimal | None = None

    @property
    def words(self) -> str:
        return ", ".join(f"`{key}: {said(value)}`" for key, value in self.keys)


def to_fit(recipe: Recipe, facts: Facts, plan_of: PlanOf, most: int = 3) -> tuple[Change, ...]:
    """The smallest changes under which the run fits: on its GPU, those that keep the result first, then other GPUs.

    More of them only where none keeps the result on as many: they share the weights then (`room.fsdp`).
    """
    tried = [_try(keys, same, recipe, facts, plan_of) for keys, same in _shrinking(plan_of(recipe))]
    fitting = [change for change in tried if change is not None and change.fits]
    best = sorted(fitting, key=lambda c: (not c.same_result, len(c.keys), c.usd or 0, -c.peak_gb))[:most]
    is_enough = any(change.same_result for change in best)
    return (*best, *_on_other_gpus(recipe, facts, plan_of, may_be_more=not is_enough))


def to_save(recipe: Recipe, facts: Facts, plan_of: PlanOf, now: Estimate) -> tuple[Change, float] | None:
    """The change that saves most money (or time, where nothing is rented), with how many times less it takes.

    What runs have taught of a step holds for the changed recipe too: else an estimate that was corrected upwards would
    make any change look like a saving.
    """
    if now.cost is None:
        return None
    before, taught = estimates.seconds(now.cost), now.cost.correction
    tried = (_try(keys, same, recipe, facts, plan_of, taught) for keys, same in _speeding(recipe, plan_of(recipe)))
    rated = [(c, before / c.seconds) for c in tried if c is not None and c.fits and c.seconds]
    best = max(rated, key=lambda pair: pair[1], default=None)
    return best if best is not None and best[1] >= WORTH_SAYING else None


def said(value: object) -> str:
    """A value as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def changed(recipe: Recipe, keys: Mapping[str, object]) -> Recipe:
    """The recipe with other values at these dotted keys."""
    for key, value in keys.items():
        recipe = _set(recipe, key.split("."), value)
    return recipe


def _set(model: Any, path: list[str], value: object) -> Any:
    head, *rest = path
    inner = value if not rest else _set(getattr(model, head), rest, value)
    return model.model_copy(update={head: inner})


def _try(
    keys: Mapping[str, object], same: bool, recipe: Recipe, facts: Facts, plan_of: PlanOf, taught: float = 1.0
) -> Change | None:
    found = estimates.estimate(plan_of(changed(recipe, keys)), facts)
    if found.memory is None:
        return None
    seconds, usd = (None, None) if found.cost is None else _corrected(found.cost, taught)
    written = (("quantization.load_in_4bit", True) if key == "quantization" else (key, keys[key]) for key in keys)
    return Change(
        keys=tuple(written),
        same_result=same,
        peak_gb=found.memory.peak_gb,
        fits=found.memory.fits,
        seconds=seconds,
        usd=usd,
    )


def _corrected(cost: CostEstimate, taught: float) -> tuple[float, Decimal]:
    """Time and money when each step takes so many times as long."""
    whole = estimates.seconds(cost)
    seconds = whole + (taught - 1) * estimates.stage_seconds(cost)["train"]
    return seconds, estimates.usd(cost) * Decimal(str(round(seconds / whole, 6)))


def _on_other_gpus(recipe: Recipe, facts: Facts, plan_of: PlanOf, *, may_be_more: bool) -> tuple[Change, ...]:
    """The cheapest larger GPU that has room, and more of the same kind that share the weights; the cheaper first.

    With the weights in 4 bits where none has otherwise.
    """
    plan = plan_of(recipe)
    now = estimates.gpu_of(plan, facts)
    if now is None or not plan.compute.place.rents:
        return ()
    in_4_bits: dict[str, object] = {"quantization": Quantization(load_in_4bit=True)}
    for also in ({}, in_4_bits) if plan.quantization is None and plan.lora is not None else ({},):
        fitting: dict[str, tuple[Decimal, Change]] = {}
        for gpu, count in _other_gpus(plan, now, facts, may_be_more=may_be_more):
            keys, same = _moved(recipe, gpu.name, count, count // plan.compute.gpu_count)
            change = None if gpu.name in fitting else _try(keys | also, same and not also, recipe, facts, plan_of)
            if change is not None and change.peak_gb <= TIGHT * gpu.memory_gb:
                fitting[gpu.name] = change.usd or gpu.usd_per_second * count, change
        alike = fitting.pop(now.name, None)
        best = sorted(fitting.values(), key=_price)[:1] + ([alike] if alike else [])
        if best:
            return tuple(change for _, change in sorted(best, key=_price))
    return ()


def _other_gpus(plan: Plan, now: Gpu, facts: Facts, *, may_be_more: bool) -> Iterator[tuple[Gpu, int]]:
    """Larger ones, and both kinds in rising numbers where there may be more."""
    doublings = 4 if may_be_more and plan.compute.nodes == 1 and plan.trainer.library.can_shard else 1
    for gpu in facts.catalog.gpus:
        is_alike = gpu.name == now.name
        if is_alike or gpu.memory_gb > now.memory_gb:
            counts = (plan.compute.gpu_count << n for n in range(is_alike, doublings))
            yield from ((gpu, count) for count in counts if count <= gpu.max_per_container)


def _moved(recipe: Recipe, gpu: str, count: int, times: int) -> tuple[dict[str, object], bool]:
    """The keys for so many GPUs, `times` as many as before, and whether as many rows go into a step as before."""
    keys: dict[str, object] = {"compute.gpu": f"{gpu}:{count}" if count > 1 else gpu}
    t, same = recipe.trainer, True
    fewer = math.gcd(t.gradient_accumulation_steps, times)
    smaller = math.gcd(t.per_device_train_batch_size, times // fewer)
    if fewer > 1:
        keys["trainer.gradient_accumulation_steps"] = t.gradient_accumulation_steps // fewer
    if smaller > 1:
        keys["trainer.per_device_train_batch_size"] = t.per_device_train_batch_size // smaller
    if times > 1 and t.optim not in SHARDED_OPTIMIZERS:
        keys["trainer.optim"], same = "adamw_torch_fused", False
    return keys, same and fewer * smaller == times


def _price(rated: tuple[Decimal, Change]) -> Decimal:
    return rated[0]


def _shrinking(plan: Plan) -> Iterator[tuple[dict[str, object], bool]]:
    """What makes a run smaller; True where it learns the same."""
    less: dict[str, object] = {} if plan.step.checkpointing != "none" else {"trainer.gradient_checkpointing": True}
    if less:
        yield less, True
    for keys, same in _smaller(plan):
        yield keys, same
        if less:
            yield {**less, **keys}, same


def _smaller(plan: Plan) -> Iterator[tuple[dict[str, object], bool]]:
    t = plan.trainer
    size, steps, length = t.per_device_train_batch_size, t.gradient_accumulation_steps, t.max_length
    if plan.compute.nodes > 1:
        yield {"compute.nodes": 1, "trainer.gradient_accumulation_steps": steps * plan.compute.nodes}, True
    while size % 2 == 0:
        size, steps = size // 2, steps * 2
        yield {"trainer.per_device_train_batch_size": size, "trainer.gradient_accumulation_steps": steps}, True
    if not t.optim.endswith("8bit") and plan.step.sharding != "fsdp":
        yield {"trainer.optim": "adamw_8bit"}, False
    while length > SHORTEST_ROWS:
        length //= 2
        yield {"trainer.max_length": length}, False
    if plan.quantization is None and plan.lora is not None:
        yield {"quantization": Quantization(load_in_4bit=True)}, False


def _speeding(recipe: Recipe, plan: Plan) -> Iterator[tuple[dict[str, object], bool]]:
    """What makes a run faster."""
    t = plan.trainer
    packed: dict[str, object] = {} if t.packing else {"trainer.packing": True}
    kept: dict[str, object] = {"trainer.gradient_checkpointing": False} if plan.step.checkpointing != "none" else {}
    wide: dict[str, object] = {}
    if t.gradient_accumulation_steps > 1:
        rows = t.per_device_train_batch_size * t.gradient_accumulation_steps
        wide = {"trainer.per_device_train_batch_size": rows, "trainer.gradient_accumulation_steps": 1}
    for keys in (packed, kept, wide):
        if keys:
            yield keys, keys is not packed
    if not recipe.trainer.library.runs_our_step and packed:
        yield {"trainer.engine": engines.TRL.name, **packed}, False
