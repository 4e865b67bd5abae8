"""What a recipe asks of its model, judged by the model's architecture: targets, modules, positions.  Pure."""

import re
from collections.abc import Iterator

from sftrun.builtin import PREFIX
from sftrun.diagnostics import Diagnostic, Path
from sftrun.errors import Problem
from sftrun.facts.values import Linear, ModelFacts
from sftrun.plan.check import model_experts
from sftrun.plan.peft_names import ALL_LINEAR, paths
from sftrun.plan.targets import EXPERT_NAMES, Reach, reach, reachable_names, unused_patterns
from sftrun.recipe.models import Lora, Recipe
from sftrun.rows.forms import CHAT

LITTLE = 0.5
# fused layer -> the names under which other checkpoints have its parts
PARTS = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "Wqkv": ("q_proj", "k_proj", "v_proj"),
    "W_pack": ("q_proj", "k_proj", "v_proj"),
    "c_attn": ("q_proj", "k_proj", "v_proj"),
}
_TARGETS = ("lora", "target_modules")
_PATTERNS = ("rank_pattern", "alpha_pattern")


def check_model(recipe: Recipe, model: ModelFacts) -> Iterator[Diagnostic]:
    """Every diagnostic that this model gives rise to under this recipe."""
    if recipe.lora is not None:
        yield from _lora(recipe.lora, model)
    yield from _positions(recipe, model)
    yield from _softcapping(recipe, model)


def model_problem(recipe: Recipe, problem: Problem) -> Diagnostic | None:
    """Why a model could not be read, where that is the recipe's fault; None where it is only out of reach."""
    if problem.kind in ("unreachable", "unknown", "quantised"):
        return None
    name = recipe.model.name_or_path
    if "://" in name:
        found = re.match(r"https?://(?:www\.)?huggingface\.co/([^/]+/[^/?#]+)", name)
        help = f"write `name_or_path: {found[1]}`" if found else "write a Hub id, `owner/name`, or a folder"
        return Diagnostic(
            "M107", f"`{name}` is an address, not a model's name", at=("model", "name_or_path"), help=help
        )
    is_builtin = recipe.model.name_or_path.startswith(PREFIX)
    code = "M108" if is_builtin else "M109" if problem.kind == "unsafe" else "M107"
    return Diagnostic(code, problem.message, at=("model", "name_or_path"), help=problem.help)


def lacks_template(recipe: Recipe, model: ModelFacts, form: str | None) -> bool:
    """Whether rows of this form need a chat template that neither model nor recipe has."""
    is_laid_out = form == "messages" or (form == "instruction" and recipe.dataset.instruction_template == CHAT)
    return is_laid_out and model.has_chat_template is False and recipe.dataset.chat_template is None


def no_template(recipe: Recipe, model: ModelFacts) -> Diagnostic:
    """What is then said, once."""
    by_key = recipe.dataset.instruction_template == CHAT
    own: Path = ("dataset", "instruction_template") if by_key else ("dataset", "format")
    rows = "instruction rows" if by_key else "`messages`"
    return Diagnostic(
        "M110",
        f"`{model.name_or_path}` has no chat template to lay out {rows} with",
        at=("model", "name_or_path") if recipe.dataset.format == "auto" and not by_key else own,
        help="use the model's instruct version, or set `dataset.chat_template`",
    )


def _lora(lora: Lora, model: ModelFacts) -> Iterator[Diagnostic]:
    if _is_expression(lora) and model.model_type in EXPERT_NAMES:
        yield model_experts.expression(model)
        return
    found = reach(lora, model)
    if not found.reached and found.parameters_unmatched:
        yield from model_experts.unmatched(lora, model, found)
    elif not found.reached:
        yield _nothing(lora, model)
    elif found.half_pairs:
        yield model_experts.half(found, model)
    else:
        yield from _unmatched(lora, model, found)
        yield from _unused(lora, model, found)
        narrowed = lora.exclude_modules or lora.layers_to_transform or lora.target_parameters
        if not narrowed:  # which say that less is meant
            yield from _little(model, found)
        yield from model_experts.check(lora, model, found)
    yield from _saved(lora, model, found)


def _is_expression(lora: Lora) -> bool:
    return isinstance(lora.target_modules, str) and lora.target_modules != ALL_LINEAR


def _nothing(lora: Lora, model: ModelFacts) -> Diagnostic:
    names = reachable_names(model)
    if reach(lora.model_copy(update={"exclude_modules": (), "layers_to_transform": ()}), model).reached:
        key = "exclude_modules" if lora.exclude_modules else "layers_to_transform"
        message = f"`{key}` leaves out all that `target_modules` names: nothing would be trained"
        return Diagnostic("M102", message, at=("lora", key), help="leave less out, or take the key out")
    if isinstance(lora.target_modules, str):
        whole = next((path for linear in model.linears for path in paths(linear)), "")
        message = f"`{lora.target_modules}` matches no whole name in {model.name_or_path}: nothing would be trained"
        return Diagnostic("M102", message, at=_TARGETS, help=f"its layers are {_typed(names)}, each like `{whole}`")
    given = ", ".join(f"`{name}`" for name in lora.target_modules)
    message = (
        f"no name of `target_modules` ({given}) is a linear layer of {model.name_or_path}: nothing would be trained"
    )
    return Diagnostic("M102", message, at=_TARGETS, help=f"its layers are {_typed(names)}")


def _unused(lora: Lora, model: ModelFacts, found: Reach) -> Iterator[Diagnostic]:
    for at, text in unused_patterns(lora, model):
        is_layer, is_pattern = at[0] == "layers_to_transform", at[0] in _PATTERNS
        names = tuple(dict.fromkeys(one.name for one in found.reached)) if is_pattern else reachable_names(model)
        near = [] if is_layer else _near(text, names)
        help = f"write 0 to {model.layers - 1}" if is_layer else f"they are {_typed(names)}"
        yield Diagnostic(
            "M114",
            f"`{text}` is no layer of {model.name_or_path}"
            if is_layer
            else f"`{text}` means no module of {model.name_or_path}" + (" that gets an adapter" if is_pattern else ""),
            at=("lora", *at),
            on_key=is_pattern,
            help=f"write `{near[0]}`" if near else help,
        )


def _unmatched(lora: Lora, model: ModelFacts, found: Reach) -> Iterator[Diagnostic]:
    """One for each name, but none for the parts of a fused layer: that is one cause, and `_little` says it."""
    names = reachable_names(model)
    fused = _fused_parts(model) if found.coverage_by_parameters < LITTLE else set()
    for name in found.unmatched:
        if name in fused:
            continue
        whole = _fused_whole(name, model)
        near = [whole] if whole else _near(name, names)
        yield Diagnostic(
            "M101",
            f"`{name}` is no linear layer of {model.name_or_path}"
            + (f": it is part of the fused `{whole}` there" if whole else ""),
            at=(*_TARGETS, tuple(lora.target_modules).index(name)),
            help=f"write `{near[0]}`" if near else f"its layers are {_typed(names)}",
        )


def _little(model: ModelFacts, found: Reach) -> Iterator[Diagnostic]:
    if found.coverage_by_parameters >= LITTLE:
        return
    reached = _listed(dict.fromkeys(group.name for group in found.reached))
    missed = _listed(dict.fromkeys(linear.name for linear in found.missed))
    total = sum(linear.count for linear in model.linears if not linear.expert)
    count = round(found.coverage_by_count * total)
    fused = [linear.name for linear in found.missed if linear.fused]
    why = f", fused in {model.name_or_path}" if fused else ""
    yield Diagnostic(
        "M103",
        f"adapters reach {reached} alone: {count} of {total} linear layers, "
        f"{found.coverage_by_parameters:.0%} of their weights",
        at=_TARGETS,
        severity="warning",
        help=f"write `target_modules: {_typed(reachable_names(model))}`"
        if fused
        else "write `target_modules: all-linear`",
        notes=(f"left out: {missed}{why}",),
    )


def _saved(lora: Lora, model: ModelFacts, found: Reach) -> Iterator[Diagnostic]:
    for name in found.saved_unmatched:
        near = _near(name.rpartition(".")[2], model.module_names)
        yield Diagnostic(
            "M106",
            f"`{name}` is no module of {model.name_or_path}",
            at=("lora", "modules_to_save", lora.modules_to_save.index(name)),
            help=f"write `{near[0]}`" if near else "remove it, or see the model's module names",
        )


def _positions(recipe: Recipe, model: ModelFacts) -> Iterator[Diagnostic]:
    longest = model.max_positions
    if longest is not None and recipe.trainer.max_length > longest:
        yield Diagnostic(
            "M105",
            f"{model.name_or_path} has {longest:,} positions, `max_length` is {recipe.trainer.max_length:,}",
            at=("trainer", "max_length"),
            help=f"write `max_length: {longest}` or less",
        )


def _softcapping(recipe: Recipe, model: ModelFacts) -> Iterator[Diagnostic]:
    kernel = recipe.model.attn_implementation
    if model.softcapping and kernel == "sdpa":
        yield Diagnostic(
            "M113",
            f"`{kernel}` can't cap attention scores, which {model.name_or_path} was trained with",
            at=("model", "attn_implementation"),
            severity="warning",
            help="write `attn_implementation: eager`, or `auto`",
        )


def _fused_parts(model: ModelFacts) -> set[str]:
    return {
        part for linear in model.linears if linear.fused and not linear.expert for part in PARTS.get(linear.name, ())
    }


def _fused_whole(name: str, model: ModelFacts) -> str | None:
    fused = (linear for linear in model.linears if _is_fused_module(linear))
    return next((linear.name for linear in fused if name in PARTS.get(linear.name, ())), None)


def _is_fused_module(linear: Linear) -> bool:
    return linear.fused and not linear.expert


def _near(name: str, known: tuple[str, ...]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, known, n=1, cutoff=0.5)


def _typed(names: tuple[str, ...]) -> str:
    return f"[{', '.join(names)}]"


def _listed(names: dict[str, None]) -> str:
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}" if first else last
