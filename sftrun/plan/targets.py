"""Which modules a LoRA section reaches, and how many parameters it trains: PEFT's own rules, without torch.  Pure.

PEFT 0.21 on transformers 5: a name in a list matches a module's whole name or its end; `all-linear` is every nn.Linear
but the output head; a module that `modules_to_save` names, or that lies inside one, gets no adapter.  Experts are
parameters, not modules: for some families PEFT translates the old names (`gate_proj`, `w1`) to them, for the rest they
stay frozen whatever the list says.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sftrun.facts.values import Linear, ModelFacts, OtherModule
from sftrun.recipe.models import Lora

ALL_LINEAR = "all-linear"
Group = Linear | OtherModule
_MIXTRAL = {"gate": "gate", "w1": "gate_up_proj", "w3": "gate_up_proj", "w2": "down_proj"}
_QWEN = {"gate": "gate", "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj"}
# model types whose old expert names PEFT maps to stacked parameters (transformers' conversion_mapping)
EXPERT_NAMES: dict[str, dict[str, str]] = dict.fromkeys(("mixtral", "minimax", "minimax_m2"), _MIXTRAL) | dict.fromkeys(
    (
        "afmoe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "glm4_moe", "glm4_moe_lite",
        "glm_moe_dsa", "glm4v_moe", "longcat_flash", "solar_open", "mellum", "qwen3_moe", "qwen3_omni_moe",
        "qwen3_omni_moe_thinker", "qwen3_next", "hunyuan_v1_moe", "flex_olmo", "olmoe", "exaone_moe", "cohere2_moe",
    ),
    _QWEN,
)  # fmt: skip


class Reached(NamedTuple):
    """One group of layers with adapters: `modules` of them, each with rank `r`."""

    name: str
    path: str
    in_features: int
    out_features: int
    modules: int
    r: int
    expert: bool = False


class Reach(NamedTuple):
    """What a LoRA section does to a model.

    Coverage is of linear layers, the head and the experts left out; `all_parameters` is the model with its adapters, as
    PEFT counts it.  `half_pairs` are names that PEFT refuses without their partner.
    """

    reached: tuple[Reached, ...]
    unmatched: tuple[str, ...]
    missed: tuple[Linear, ...]
    adapter_parameters: int
    saved_parameters: int
    bias_parameters: int
    all_parameters: int
    coverage_by_count: float
    coverage_by_parameters: float
    saved_unmatched: tuple[str, ...] = ()
    frozen_experts: int = 0
    half_pairs: tuple[str, ...] = ()

    @property
    def trainable_parameters(self) -> int:
        return self.adapter_parameters + self.saved_parameters + self.bias_parameters

    @property
    def reaches_experts(self) -> bool:
        return any(group.expert for group in self.reached)


def reach(lora: Lora, model: ModelFacts) -> Reach:
    """Exact figures for a recipe's `lora` section on a model."""
    targets, expert_targets, half = _translated(lora, model)
    reached = (*_modules(targets, lora, model), *_stacks(expert_targets, lora, model))
    adapters = sum(_size(group, dora=lora.use_dora) * group.modules for group in reached)
    saved = _saved_parameters(lora.modules_to_save, model)
    plain = [linear for linear in model.linears if not linear.expert]
    hit = {group.path: group.modules for group in reached if not group.expert}
    return Reach(
        reached=reached,
        unmatched=_unmatched(lora, model),
        missed=tuple(linear for linear in plain if hit.get(linear.path, 0) < linear.count),
        adapter_parameters=adapters,
        saved_parameters=saved,
        bias_parameters=_biases(lora, model, reached),
        all_parameters=model.parameters + adapters + saved,
        coverage_by_count=_share([hit.get(x.path, 0) for x in plain], [x.count for x in plain]),
        coverage_by_parameters=_share(
            [hit.get(x.path, 0) * x.in_features * x.out_features for x in plain],
            [x.count * x.in_features * x.out_features for x in plain],
        ),
        saved_unmatched=tuple(name for name in lora.modules_to_save if not _saves_any(name, model)),
        frozen_experts=0 if any(group.expert for group in reached) else _expert_parameters(model),
        half_pairs=half,
    )


def trainable_parameters(lora: Lora | None, model: ModelFacts) -> int:
    """Parameters that are trained: adapters, or everything without a LoRA section."""
    return model.parameters if lora is None else reach(lora, model).trainable_parameters


def paths(group: Group) -> Iterator[str]:
    """Full names of a group's modules."""
    if "*" not in group.path:
        yield group.path
        return
    for layer in group.layers or range(group.count // (getattr(group, "experts", 0) or 1)):
        yield group.path.replace("*", str(layer), 1)


def reachable_names(model: ModelFacts) -> tuple[str, ...]:
    """Last parts of the names of linear layers, each once: what may stand in `target_modules`."""
    return tuple(dict.fromkeys(linear.name for linear in model.linears if not linear.expert))


def _translated(lora: Lora, model: ModelFacts) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(names of modules, names of stacked parameters, names without their partner), as PEFT rewrites a list."""
    named = (ALL_LINEAR,) if lora.target_modules == ALL_LINEAR else tuple(lora.target_modules)
    mapping = EXPERT_NAMES.get(model.model_type)
    if mapping is None:
        return named, (), ()
    if named == (ALL_LINEAR,):
        return named, tuple(dict.fromkeys(mapping.values())), ()
    found = {name: next((old for old in mapping if _ends(name, old)), None) for name in named}
    modules = tuple(name for name, old in found.items() if old is None)
    present = {old for old in found.values() if old is not None}
    pair = {old for old, new in mapping.items() if new == "gate_up_proj"}
    half = tuple(sorted(present & pair)) if 0 < len(present & pair) < len(pair) else ()
    return modules, tuple(dict.fromkeys(mapping[old] for old in mapping if old in present)), half


def _modules(targets: Sequence[str], lora: Lora, model: ModelFacts) -> Iterator[Reached]:
    every = tuple(targets) == (ALL_LINEAR,)
    for linear in model.linears:
        if linear.expert:
            continue
        free = [path for path in paths(linear) if not _is_saved(path, lora.modules_to_save)]
        count = sum(every or _is_target(path, targets) for path in free)
        if count:
            yield Reached(linear.name, linear.path, linear.in_features, linear.out_features, count, lora.r)
    for other in model.others if not every else ():
        if other.kind in ("embedding", "head") and other.shape is not None:
            free = [path for path in paths(other) if not _is_saved(path, lora.modules_to_save)]
            count = sum(_is_target(path, targets) for path in free)
            if count:
                name = other.path.rpartition(".")[2]
                rows, columns = other.shape
                yield Reached(name, other.path, columns, rows, count, lora.r)


def _stacks(targets: Sequence[str], lora: Lora, model: ModelFacts) -> Iterator[Reached]:
    for linear in model.linears:
        if linear.expert and linear.name in targets:
            # gate and up share one matrix: PEFT doubles the rank, so that each keeps its own
            rank = lora.r * 2 if linear.name == "gate_up_proj" else lora.r
            yield Reached(
                linear.name, linear.path, linear.in_features, linear.out_features, linear.count, rank, expert=True
            )
    for other in model.others:
        if other.kind == "router" and "gate" in targets and other.shape is not None:
            yield Reached("gate", other.path, other.shape[1], other.shape[0], other.count, lora.r, expert=True)


def _size(group: Reached, *, dora: bool) -> int:
    # A is (r, in), B is (out, r); DoRA adds one magnitude for each output
    return group.r * (group.in_features + group.out_features) + (group.out_features if dora else 0)


def _is_target(path: str, targets: Sequence[str]) -> bool:
    return any(_ends(path, target) for target in targets)


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _is_saved(path: str, names: Sequence[str]) -> bool:
    return any(re.match(rf"(^|.*\.){name}($|\..*)", path) for name in map(re.escape, names))


def _unmatched(lora: Lora, model: ModelFacts) -> tuple[str, ...]:
    if lora.target_modules == ALL_LINEAR:
        return ()
    known = [path for group in _groups(model) if _takes_adapter(group) for path in paths(group)]
    old = EXPERT_NAMES.get(model.model_type, {})
    return tuple(
        name
        for name in lora.target_modules
        if not any(_ends(path, name) for path in known) and not any(_ends(name, other) for other in old)
    )


def _takes_adapter(group: Group) -> bool:
    return not group.expert if isinstance(group, Linear) else group.kind in ("embedding", "head")


def _groups(model: ModelFacts) -> tuple[Group, ...]:
    return (*model.linears, *model.others)


def _saves_any(name: str, model: ModelFacts) -> bool:
    return any(True for _ in _saved_paths((name,), model))


def _saved_paths(names: Sequence[str], model: ModelFacts) -> Iterator[tuple[str, Group]]:
    """Modules that are copied whole: PEFT takes each whose name ends with the text, and all that is inside it."""
    patterns = [re.compile(rf"(^|\S*){re.escape(name)}($|\.)") for name in names]
    for group in _groups(model):
        for path in paths(group):
            if any(pattern.match(path) for pattern in patterns):
                yield path, group


def _saved_parameters(names: Sequence[str], model: ModelFacts) -> int:
    return sum(_own_parameters(group) for _, group in _saved_paths(names, model)) if names else 0


def _own_parameters(group: Group) -> int:
    if isinstance(group, OtherModule):
        # a tied head has no weights of its own until it is copied
        return group.parameters or (group.shape[0] * group.shape[1] if group.shape else 0)
    size = group.in_features * group.out_features + (group.out_features if group.bias else 0)
    return size * (group.experts or 1)


def _biases(lora: Lora, model: ModelFacts, reached: Sequence[Reached]) -> int:
    if lora.bias == "none":
        return 0
    if lora.bias == "all":
        linears = sum(x.out_features * x.count for x in model.linears if x.bias and not x.expert)
        return linears + sum(o.bias_parameters * o.count for o in model.others)
    with_bias = {linear.path for linear in model.linears if linear.bias}
    return sum(group.out_features * group.modules for group in reached if group.path in with_bias)


def _expert_parameters(model: ModelFacts) -> int:
    return sum(x.in_features * x.out_features * x.count for x in model.linears if x.expert)


def _share(parts: Sequence[int], wholes: Sequence[int]) -> float:
    return sum(parts) / sum(wholes) if sum(wholes) else 0.0
