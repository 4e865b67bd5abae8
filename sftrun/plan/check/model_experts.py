"""What a recipe asks of a mixture's experts, which are stacked in one parameter a layer.  Pure."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic
from sftrun.facts.values import ModelFacts
from sftrun.plan.targets import EXPERT_NAMES, Reach, stacked_names
from sftrun.recipe.models import Lora

TARGETS = ("lora", "target_modules")


def check(lora: Lora, model: ModelFacts, found: Reach) -> Iterator[Diagnostic]:
    yield from unmatched(lora, model, found)
    if found.frozen_experts:
        share, size = found.frozen_experts / model.parameters, _billions(model.parameters)
        names = EXPERT_NAMES.get(model.model_type)
        yield Diagnostic(
            "M104",
            f"the experts of {model.name_or_path}, {share:.0%} of its {size} parameters, stay frozen",
            at=TARGETS,
            severity="warning",
            help="write `target_modules: all-linear` to train them too"
            if names
            else f"keep it if that is meant, or write `target_parameters: [{', '.join(stacked_names(model))}]`",
        )
    if found.reaches_experts and (lora.lora_dropout or lora.use_dora):
        key, value = ("use_dora", "true") if lora.use_dora else ("lora_dropout", str(lora.lora_dropout))
        yield Diagnostic(
            "M111",
            f"adapters on stacked experts can't have `{key}: {value}`",
            at=("lora", key),
            help=f"remove `{key}`, or name the attention layers alone in `target_modules`"
            if not lora.target_parameters
            else f"remove `{key}`, or `target_parameters`",
        )


def unmatched(lora: Lora, model: ModelFacts, found: Reach) -> Iterator[Diagnostic]:
    """Parameters that are none of the model's stacked ones: PEFT would go on without them, or wrap a layer's twice."""
    names = stacked_names(model)
    for name in found.parameters_unmatched:
        yield Diagnostic(
            "M122",
            f"`{name}` is no stacked parameter of {model.name_or_path}",
            at=("lora", "target_parameters", lora.target_parameters.index(name)),
            help=f"write `target_parameters: [{', '.join(names)}]`"
            if names
            else "take it out: it has no experts; layers stand in `target_modules`",
        )


def half(found: Reach, model: ModelFacts) -> Diagnostic:
    pair = [old for old, new in EXPERT_NAMES[model.model_type].items() if new == "gate_up_proj"]
    missing = next(name for name in pair if name not in found.half_pairs)
    return Diagnostic(
        "M112",
        f"`{found.half_pairs[0]}` can't have an adapter without `{missing}`: the experts of "
        f"{model.name_or_path} keep both in one matrix",
        at=TARGETS,
        help=f"add `{missing}` to `target_modules`",
    )


def expression(model: ModelFacts) -> Diagnostic:
    return Diagnostic(
        "M115",
        f"PEFT can't tell layers of {model.name_or_path} apart by a regular expression: its experts are stacked",
        at=TARGETS,
        help="write a list of names, and `layers_to_transform` for some layers alone",
    )


def _billions(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"
