"""What an adapter that a run goes on from says against its recipe: another base, another `lora`, its own folder."""

from collections.abc import Iterator
from pathlib import PurePath

from sftrun.diagnostics import Diagnostic
from sftrun.facts.values import AdapterFacts, ModelFacts
from sftrun.plan import peft_names
from sftrun.plan.targets import reach
from sftrun.recipe.going_on import MAY_CHANGE
from sftrun.recipe.models import Lora, Recipe

_TWINS = ("-unsloth-bnb-4bit", "-bnb-4bit")
_AT = ("model", "adapter")
_OF_TARGETS = {"target_modules", "exclude_modules", "layers_to_transform", "rank_pattern"}


def check(recipe: Recipe, adapter: AdapterFacts, model: ModelFacts | None) -> Iterator[Diagnostic]:
    """Every diagnostic that the adapter gives rise to; `recipe` is as written."""
    if not recipe.trainer.library.has_all_of_peft:
        message = f"the engine {recipe.trainer.engine} makes adapters of its own, and goes on from none"
        yield Diagnostic("M133", message, at=_AT, help="write `engine: trl`, or take it out")
    yield from _base(recipe, adapter, model)
    if recipe.lora is not None:
        yield from _lora(recipe.lora, Lora.model_validate(adapter.lora), adapter, model)
    if recipe.dataset.add_tokens:
        message = f"`{adapter.name}` was trained without new tokens, and an adapter keeps what it has"
        yield Diagnostic("M132", message, at=("dataset", "add_tokens"), help="take it out, or train a new adapter")
    if adapter.is_output:
        message = f"`{recipe.output.dir}` is the adapter's own folder: the run would replace what it goes on from"
        yield Diagnostic("M134", message, at=("output", "dir"), help=f"write `dir: {recipe.output.dir}-2`")


def _base(recipe: Recipe, adapter: AdapterFacts, model: ModelFacts | None) -> Iterator[Diagnostic]:
    """By name, and by the shapes of the modules that it changes."""
    wrong = None if model is None else _misfit(adapter, model)
    if wrong is not None:
        yield Diagnostic(
            "M131",
            f"`{adapter.name}` does not fit `{recipe.model.name_or_path}`: {wrong}",
            at=_AT,
            also=((("model", "name_or_path"), "the model here"),),
            help=f"write `name_or_path: {adapter.base_model}`"
            if adapter.base_model
            else "name the model it was trained on",
        )
    elif adapter.base_model is not None and _bare(adapter.base_model) != _bare(recipe.model.name_or_path):
        yield Diagnostic(
            "M131",
            f"`{adapter.name}` was trained on `{adapter.base_model}`, not on `{recipe.model.name_or_path}`",
            at=_AT,
            also=((("model", "name_or_path"), "the model here"),),
            help=f"write `name_or_path: {adapter.base_model}`, or name another adapter",
        )


def _misfit(adapter: AdapterFacts, model: ModelFacts) -> str | None:
    known = {path: (one.in_features, one.out_features) for one in model.linears for path in peft_names.paths(one)}
    if not known:
        return None
    names = {other.path for other in model.others}
    for module, shape in sorted(adapter.shapes.items()):
        if module in known and known[module] != shape:
            (a, b), (c, d) = shape, known[module]
            return f"`{module}` has {a} × {b} features in it, {c} × {d} in the model"
        if module not in known and module not in names and not any(module.startswith(f"{p}.") for p in known):
            return f"the model has no `{module}`"
    return None


def _lora(written: Lora, own: Lora, adapter: AdapterFacts, model: ModelFacts | None) -> Iterator[Diagnostic]:
    for key in sorted(written.model_fields_set - MAY_CHANGE):
        value, kept = getattr(written, key), getattr(own, key)
        if key == "init_lora_weights" or _same(key, written, own, model):
            continue
        yield Diagnostic(
            "M132",
            f"`{key}` is {_shown(kept)} in `{adapter.name}`, and an adapter keeps it: {_shown(value)} can't be had",
            at=("lora", key),
            also=((_AT, "gone on from here"),),
            help="take it out: what an adapter has need not be written",
        )


def _same(key: str, written: Lora, own: Lora, model: ModelFacts | None) -> bool:
    """Targets are the same where they reach the same modules, however they are written."""
    value, kept = getattr(written, key), getattr(own, key)
    if key not in _OF_TARGETS:
        return bool(value == kept)
    if value == kept or (isinstance(value, tuple) and isinstance(kept, tuple) and set(value) == set(kept)):
        return True
    if model is None:
        return isinstance(value, str) or isinstance(kept, str)
    other = own.model_copy(update={key: value})
    found = [{(one.path, one.modules, one.r) for one in reach(lora, model).reached} for lora in (own, other)]
    return found[0] == found[1]


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _bare(name: str) -> str:
    last = PurePath(name).name.lower()
    for twin in _TWINS:
        last = last.removesuffix(twin)
    return last
