"""A recipe that goes on from an adapter: what its `lora` section then is."""

from typing import Any

from sftrun.recipe.models import Lora, Recipe

# what an adapter leaves open; everything else is as it was trained
MAY_CHANGE = frozenset({"lora_dropout", "autocast_adapter_dtype"})


def with_lora(recipe: Recipe, adapter: dict[str, Any] | None) -> Recipe:
    """The recipe with the adapter's own `lora` section; with PEFT's usual one where none is written and none known."""
    if recipe.model.adapter is None or (adapter is None and recipe.lora is not None):
        return recipe
    written = {} if recipe.lora is None else {key: getattr(recipe.lora, key) for key in recipe.lora.model_fields_set}
    kept = {key: value for key, value in written.items() if key in MAY_CHANGE}
    values = Lora().model_dump() | (adapter or {}) | kept
    return recipe.model_copy(update={"lora": Lora.model_construct(_fields_set=set(written), **values)})
