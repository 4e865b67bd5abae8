"""What to change: the smallest changes that make a run fit, and the one that would save most.  Pure.

A change is a few keys of the recipe.  Each candidate is resolved and estimated like the recipe itself, so that what is
promised is what `--set` of these keys would show.  Changes that leave the result alone come first.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sftrun.facts.models import Facts
from sftrun.plan import estimate as estimates
from sftrun.plan.estimate import Estimate
from sftrun.plan.models import Plan
from sftrun.recipe.models import Quantization, Recipe

PlanOf = Callable[[Recipe], Plan]
# a saving smaller than this is not worth a word
WORTH_SAYING: Final = 1.1
SHORTEST_ROWS: Final = 256


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
        return ", ".join(f"`{key}: {str(value).lower()}`" for key, value in self.keys)


def to_fit(recipe: Recipe, facts: Facts, plan_of: PlanOf, most: int = 3) -> tuple[Change, ...]:
    """The smallest changes under which the run fits its GPU: first those that keep the result, by money or peak."""
    tried = [_try(keys, same, recipe, facts, plan_of) for keys, same in _shrinking(recipe, plan_of(recipe))]
    fitting = [change for change in tried if change is not None and change.fits]
    return tuple(sorted(fitting, key=lambda c: (not c.same_result, len(c.keys), c.usd or 0, -c.peak_gb))[:most])


def to_save(recipe: Recipe, facts: Facts, plan_of: PlanOf, now: Estimate) -> tuple[Change, float] | None:
    """The change that saves most money (or time, where nothing is rented), with how many times less it takes."""
    if now.cost is None:
        return None
    before = estimates.seconds(now.cost)
    tried = (_try(keys, same, recipe, facts, plan_of) for keys, same in _speeding(recipe, plan_of(recipe)))
    rated = [(c, before / c.seconds) for c in tried if c is not None and c.fits and c.seconds]
    best = max(rated, key=lambda pair: pair[1], default=None)
    return best if best is not None and best[1] >= WORTH_SAYING else None


def changed(recipe: Recipe, keys: Mapping[str, object]) -> Recipe:
    """The recipe with other values at these dotted keys."""
    for key, value in keys.items():
        recipe = _set(recipe, key.split("."), value)
    return recipe


def _set(model: Any, path: list[str], value: object) -> Any:
    head, *rest = path
    inner = value if not rest else _set(getattr(model, head), rest, value)
    return model.model_copy(update={head: inner})


def _try(keys: Mapping[str, object], same: bool, recipe: Recipe, facts: Facts, plan_of: PlanOf) -> Change | None:
    found = estimates.estimate(plan_of(changed(recipe, keys)), facts)
    if found.memory is None:
        return None
    said = tuple((key, "4 bit" if isinstance(value, Quantization) else value) for key, value in keys.items())
    return Change(
        keys=said,
        same_result=same,
        peak_gb=found.memory.peak_gb,
        fits=found.memory.fits,
        seconds=None if found.cost is None else estimates.seconds(found.cost),
        usd=None if found.cost is None else estimates.usd(found.cost),
    )


def _shrinking(recipe: Recipe, plan: Plan) -> Iterator[tuple[dict[str, object], bool]]:
    """What makes a run smaller; True where it learns the same."""
    t = plan.trainer
    less: dict[str, object] = {} if t.gradient_checkpointing else {"trainer.gradient_checkpointing": True}
    if less:
        yield less, True
    size, steps = t.per_device_train_batch_size, t.gradient_accumulation_steps
    while size % 2 == 0:
        size, steps = size // 2, steps * 2
        halved: dict[str, object] = {
            "trainer.per_device_train_batch_size": size,
            "trainer.gradient_accumulation_steps": steps,
        }
        yield halved, True
        yield {**less, **halved}, True
    if not t.optim.endswith("8bit") and not t.fsdp:
        yield {"trainer.optim": "adamw_8bit"}, False
    yield from _shorter(t.max_length, less)
    if plan.quantization is None and plan.lora is not None:
        yield {"quantization": Quantization(load_in_4bit=True)}, False
        yield {"quantization": Quantization(load_in_4bit=True), **less}, False


def _shorter(length: int, less: Mapping[str, object]) -> Iterator[tuple[dict[str, object], bool]]:
    while length > SHORTEST_ROWS:
        length //= 2
        yield {"trainer.max_length": length}, False
        yield {**less, "trainer.max_length": length}, False


def _speeding(recipe: Recipe, plan: Plan) -> Iterator[tuple[dict[str, object], bool]]:
    """What makes a run faster."""
    t = plan.trainer
    packed: dict[str, object] = {} if t.packing else {"trainer.packing": True}
    kept: dict[str, object] = {"trainer.gradient_checkpointing": False} if t.gradient_checkpointing else {}
    wide: dict[str, object] = {}
    if t.gradient_accumulation_steps > 1:
        rows = t.per_device_train_batch_size * t.gradient_accumulation_steps
        wide = {"trainer.per_device_train_batch_size": rows, "trainer.gradient_accumulation_steps": 1}
    for keys in (packed, kept, wide):
        if keys:
            yield keys, keys is not packed
    if recipe.trainer.engine == "unsloth" and packed:
        yield {"trainer.engine": "trl", **packed}, False
