"""What is known of a model's type (docs/models.md): whether it can be trained so, and packed.  Pure."""

import re
from collections.abc import Iterator
from typing import Final

from sftrun.contract.choices import Attention
from sftrun.diagnostics import Diagnostic
from sftrun.facts.model import capabilities
from sftrun.facts.model.capabilities import Capabilities
from sftrun.facts.values import ModelFacts
from sftrun.plan.peft_names import ALL_LINEAR
from sftrun.plan.targets import reachable_names
from sftrun.recipe.models import Recipe

_MODEL = ("model", "name_or_path")
_OTHER: Final = "choose a model of another type: docs/models.md lists what was tried"
# trial -> what it means that it failed, whatever the recipe says
_NEVER: Final = {
    "builds": "no small model of it could be made, so that nothing of it was tried",
    "loads": "transformers can't load it again once it is saved",
    "causal": "it reads words before they come, so it can't learn to write them",
    "padded": "padding changes what it says of a row",
    "counts": "its parameters can't be counted from its files",
}
_NEVER_ADAPTED: Final = {
    "lora-named": "a step with adapters fails",
    "counts-lora": "its adapters can't be counted from its files",
}
_RAISED: Final = re.compile(r"\w*(Error|UnsupportedAttention): ")  # by a library, where a trial says what it saw
_ALL_LINEAR: Final = {"all-linear", "lora"}
_ATTENTION: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
# what PEFT refuses by name in models of Mamba's kind
REFUSED_IN_MAMBA: Final = ("out_proj", "conv1d")


def check_kind(recipe: Recipe, model: ModelFacts | None) -> Iterator[Diagnostic]:
    """Every diagnostic that the model's type gives rise to under this recipe."""
    if not recipe.trainer.library.runs_our_step or recipe.model.trust_remote_code:
        return  # another engine's model, or the model's own code
    found = None if model is None else capabilities.find(model.model_type)
    if model is not None and not capabilities.has_language_model(model.model_type):
        kind = f"{model.name_or_path} is of the type `{model.model_type}`"
        yield Diagnostic("M117", f"{kind}: transformers has no causal language model of it", at=_MODEL, help=_OTHER)
        return
    if model is not None:
        yield from _unknown(model) if found is None else _refused(recipe, model, found)
    yield from _packed(recipe, model, found)
    if found is not None and model is not None:
        yield from _kernel(recipe, model.model_type, found)


def _kernel(recipe: Recipe, kind: str, found: Capabilities) -> Iterator[Diagnostic]:
    """A kernel that is written and that such a model can't be loaded with."""
    kernel = recipe.model.attn_implementation
    fault = found.faults.get("apart-varlen" if kernel == "varlen" else f"runs-{kernel}", "")
    if "builds" not in found.faults and _RAISED.match(fault):
        yield Diagnostic(
            "M121",
            f"models of the type `{kind}` have no attention `{kernel}`",
            at=("model", "attn_implementation"),
            help="write `attn_implementation: auto`",
        )


def _unknown(model: ModelFacts) -> Iterator[Diagnostic]:
    yield Diagnostic(
        "M116",
        f"models of the type `{model.model_type}` were not tried with {capabilities.libraries()}",
        at=_MODEL,
        severity="warning",
        help="begin with a few steps: `--set trainer.max_steps=2`",
    )


def _refused(recipe: Recipe, model: ModelFacts, found: Capabilities) -> Iterator[Diagnostic]:
    kind = f"`{model.model_type}` can't be trained"
    reason = next((words for trial, words in _NEVER.items() if trial in found.faults), None)
    if recipe.lora is None:
        reason = reason or found.faults.get("full")
    else:
        reason = reason or next((words for trial, words in _NEVER_ADAPTED.items() if trial in found.faults), None)
        reason = reason or found.faults.get("comes-back")
    in_4bit = recipe.quantization is not None and recipe.quantization.load_in_4bit
    if reason is not None:
        yield Diagnostic("M117", f"{kind}: {reason}", at=_MODEL, help=_OTHER)
    elif recipe.lora is not None and recipe.lora.target_modules == ALL_LINEAR and found.faults.keys() & _ALL_LINEAR:
        yield _named(model, found)
    elif in_4bit and "nf4" in found.faults:
        help = "remove `quantization`"
        yield Diagnostic("M117", f"{kind} in 4 bits: {found.faults['nf4']}", at=("quantization",), help=help)
    if "router" in found.faults and recipe.trainer.extra.get("router_aux_loss_coef") != 0:
        yield Diagnostic(
            "M117",
            f"{kind} with a router's loss, which TRL adds and this model does not give",
            at=_MODEL,
            help="write `trainer.extra: {router_aux_loss_coef: 0}`",
        )


def _named(model: ModelFacts, found: Capabilities) -> Diagnostic:
    """What to write where adapters can't be on all layers."""
    refused = "all-linear" in found.faults
    message = (
        f"PEFT refuses `all-linear` on models of the type `{model.model_type}`"
        if refused
        else f"a step with `all-linear` fails on models of the type `{model.model_type}`: {found.faults['lora']}"
    )
    written = ", ".join(in_place_of_all(model, refused=refused))
    return Diagnostic("M118", message, at=("lora", "target_modules"), help=f"write `target_modules: [{written}]`")


def in_place_of_all(model: ModelFacts, *, refused: bool) -> tuple[str, ...]:
    """Names to write instead of `all-linear`: what PEFT does not refuse, or where a step fails attention alone."""
    names = tuple(name for name in reachable_names(model) if name not in REFUSED_IN_MAMBA)
    return names if refused else tuple(name for name in names if name in _ATTENTION) or names


def _packed(recipe: Recipe, model: ModelFacts | None, found: Capabilities | None) -> Iterator[Diagnostic]:
    """Packed rows that see each other: known of the model's type, or feared of one that was not tried."""
    kernel = recipe.model.attn_implementation
    if not recipe.trainer.packing:
        return
    if found is None:
        if kernel in ("sdpa", "eager"):
            yield _seen(f"packed rows may see each other under `{kernel}`", kernel, is_feared=True)
        return
    apart = found.keeps_rows_apart
    if apart and (kernel == "auto" or apart & _as_tried(kernel)):
        return
    named = "this model" if model is None else f"`{model.model_type}`"
    under = f" under `{kernel}`" if apart else ""
    yield _seen(f"packed rows see each other in {named}{under}", kernel if apart else "auto")


def _as_tried(kernel: Attention) -> set[Attention]:
    """What a kernel was tried as; `varlen` is SDPA with a mask where its own would mix rows."""
    if kernel == "varlen":
        return {"varlen", "sdpa"}
    return {"varlen" if kernel.startswith("flash") else kernel}


def _seen(message: str, kernel: str, *, is_feared: bool = False) -> Diagnostic:
    packing = ("trainer", "packing")
    if kernel == "auto":
        return Diagnostic("R230", message, at=packing, help="write `packing: false`: rows are padded then")
    return Diagnostic(
        "R230",
        message,
        at=("model", "attn_implementation"),
        severity="warning" if is_feared else "error",
        also=((packing, "packed here"),),
        help="write `attn_implementation: auto`",
    )
