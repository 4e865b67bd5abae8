"""Which modules a LoRA section reaches, and how many parameters it trains: PEFT's own rules, without torch.  Pure.

PEFT 0.21 on transformers 5: `all-linear` is every nn.Linear but the output head, else `peft_names` says what a name
means.  Experts are parameters, not modules: for some families PEFT translates the old names (`gate_proj`, `w1`) to
them, for the rest they stay frozen whatever the list says.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sftrun.diagnostics import Path
from sftrun.facts.values import Linear, ModelFacts, OtherModule
from sftrun.plan import peft_names
from sftrun.plan.peft_names import ALL_LINEAR, Group, Names, Section, paths
from sftrun.recipe.models import Lora

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
    """Layers of one group with adapters of one rank: `modules` of them, each with rank `r`."""

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
    parameters_unmatched: tuple[str, ...] = ()

    @property
    def trainable_parameters(self) -> int:
        return self.adapter_parameters + self.saved_parameters + self.bias_parameters

    @property
    def reaches_experts(self) -> bool:
        return any(group.expert for group in self.reached)


def reach(lora: Section, model: ModelFacts) -> Reach:
    """Exact figures for a recipe's `lora` section on a model."""
    targets, expert_targets, half = _translated(lora, model)
    reached = (*_modules(targets, lora, model), *_stacks(expert_targets, lora, model))
    adapters = sum(_size(group, dora=lora.use_dora) * group.modules for group in reached)
    saved = _saved_parameters(_saved_names(lora, model), model)
    plain = [linear for linear in model.linears if not linear.expert]
    hit = Counter[str]()
    for group in reached:
        hit[group.path] += 0 if group.expert else group.modules
    return Reach(
        reached=reached,
        unmatched=_unmatched(lora, model),
        missed=tuple(linear for linear in plain if hit[linear.path] < linear.count),
        adapter_parameters=adapters,
        saved_parameters=saved,
        bias_parameters=_biases(lora, model, reached),
        all_parameters=model.parameters + adapters + saved,
        coverage_by_count=_share([hit[x.path] for x in plain], [x.count for x in plain]),
        coverage_by_parameters=_share(
            [hit[x.path] * x.in_features * x.out_features for x in plain],
            [x.count * x.in_features * x.out_features for x in plain],
        ),
        saved_unmatched=tuple(name for name in lora.modules_to_save if not _saves_any(name, model)),
        frozen_experts=0 if any(group.expert for group in reached) else _expert_parameters(model),
        half_pairs=half,
        parameters_unmatched=tuple(name for name in lora.target_parameters if not _means_any(name, model)),
    )


def trainable_parameters(lora: Lora | None, model: ModelFacts) -> int:
    """Parameters that are trained: adapters, or everything without a LoRA section."""
    return model.parameters if lora is None else reach(lora, model).trainable_parameters


def unused_patterns(lora: Lora, model: ModelFacts) -> Iterator[tuple[Path, str]]:
    """What means no module, or of ranks and scales none that gets an adapter: (place below `lora`, the text there)."""
    known = [path for group in _groups(model) for path in paths(group)]
    for at, text in _exclusions(lora):
        names = text if len(at) == 1 else (text,)
        if not any(peft_names.matches(path, names) for path in known):
            yield at, text
    layers = {peft_names.layer_of(path) for path in known}
    for index, layer in enumerate(lora.layers_to_transform):
        if layer not in layers:
            yield ("layers_to_transform", index), str(layer)
    found = reach(lora, model)
    adapted = [path for group in _groups(model) for path in _adapted(group, found, lora)]
    for at, text in _patterns(lora):
        if not any(peft_names.pattern({text: None}, path) for path in adapted):
            yield at, text


def reachable_names(model: ModelFacts) -> tuple[str, ...]:
    """Last parts of the names of linear layers, each once: what may stand in `target_modules`."""
    return tuple(dict.fromkeys(linear.name for linear in model.linears if not linear.expert))


def stacked_names(model: ModelFacts) -> tuple[str, ...]:
    """Ends of the names of stacked experts, each once: what may stand in `target_parameters`."""
    return tuple(dict.fromkeys(".".join(x.path.split(".")[-2:]) for x in model.linears if x.expert))


def _means_any(name: str, model: ModelFacts) -> bool:
    stacks = (path for linear in model.linears if linear.expert for path in paths(linear))
    routers = (f"{path}.weight" for other in model.others if other.kind == "router" for path in paths(other))
    return any(peft_names.ends(path, name) for path in (*stacks, *routers))


def _translated(lora: Section, model: ModelFacts) -> tuple[Names, tuple[str, ...], tuple[str, ...]]:
    """(names of modules, names of stacked parameters, names without their partner), as PEFT rewrites a list."""
    named, mapping = lora.target_modules, EXPERT_NAMES.get(model.model_type)
    if mapping is not None and named == ALL_LINEAR:
        return named, tuple(dict.fromkeys(mapping.values())), ()
    if mapping is None or isinstance(named, str):  # a regular expression is refused there
        return named, (), ()
    found = {name: next((old for old in mapping if peft_names.ends(name, old)), None) for name in named}
    modules = tuple(name for name, old in found.items() if old is None)
    present = {old for old in found.values() if old is not None}
    pair = {old for old, new in mapping.items() if new == "gate_up_proj"}
    half = tuple(sorted(present & pair)) if 0 < len(present & pair) < len(pair) else ()
    return modules, tuple(dict.fromkeys(mapping[old] for old in mapping if old in present)), half


def _modules(targets: Names, lora: Section, model: ModelFacts) -> Iterator[Reached]:
    every = _all_linear(model) if targets == ALL_LINEAR else targets
    for linear in model.linears:
        if not linear.expert:
            yield from _of_one_rank(linear, linear.in_features, linear.out_features, every, lora)
    for other in model.others if targets != ALL_LINEAR else ():
        if other.kind in ("embedding", "head") and other.shape is not None:
            yield from _of_one_rank(other, other.shape[1], other.shape[0], targets, lora)


def _all_linear(model: ModelFacts) -> str:
    """PEFT takes the experts' old names for theirs wherever they stand: dense layers and shared experts get none."""
    old = "|".join(EXPERT_NAMES.get(model.model_type, ()))
    return rf"(?!(?:.*\.)?(?:{old})$).*" if old else ".*"


def _of_one_rank(group: Group, inputs: int, outputs: int, targets: Names, lora: Section) -> Iterator[Reached]:
    hit = (path for path in paths(group) if peft_names.is_target(lora, path, targets))
    for rank, count in Counter(peft_names.rank(lora, path) for path in hit).items():
        yield Reached(group.path.rpartition(".")[2], group.path, inputs, outputs, count, rank)


def _stacks(targets: Sequence[str], lora: Section, model: ModelFacts) -> Iterator[Reached]:
    for linear in model.linears:
        if linear.expert:
            is_named = linear.name in targets
            # gate and up share one matrix: PEFT doubles the rank, so that each keeps its own
            usual = lora.r * 2 if is_named and linear.name == "gate_up_proj" else lora.r
            hit = paths(linear) if is_named else _parameters(paths(linear), lora)
            for rank, layers in Counter(peft_names.rank(lora, path, usual) for path in hit).items():
                yield Reached(
                    linear.name, linear.path, linear.in_features, linear.out_features, layers * linear.experts, rank,
                    expert=True,
                )  # fmt: skip
    for other in model.others:
        if other.kind == "router" and other.shape is not None:
            rows, columns = other.shape
            weights = [f"{path}.weight" for path in paths(other)]
            meant = weights if "gate" in targets else _parameters(weights, lora)
            for rank, layers in Counter(peft_names.rank(lora, path) for path in meant).items():
                yield Reached("gate", other.path, columns, rows, layers, rank, expert=True)


def _parameters(names: Iterable[str], lora: Section) -> Iterator[str]:
    """Those that `target_parameters` means, whatever is excluded: PEFT looks at their ends alone."""
    return (name for name in names if peft_names.matches(name, lora.target_parameters))


def _size(group: Reached, *, dora: bool) -> int:
    # A is (r, in), B is (out, r); DoRA adds one magnitude for each output
    return group.r * (group.in_features + group.out_features) + (group.out_features if dora else 0)


def _unmatched(lora: Section, model: ModelFacts) -> tuple[str, ...]:
    if isinstance(lora.target_modules, str):
        return ()
    known = [path for group in _groups(model) if _takes_adapter(group) for path in paths(group)]
    old = EXPERT_NAMES.get(model.model_type, {})
    return tuple(
        name
        for name in lora.target_modules
        if not any(peft_names.ends(path, name) for path in known)
        and not any(peft_names.ends(name, other) for other in old)
    )


def _takes_adapter(group: Group) -> bool:
    return not group.expert if isinstance(group, Linear) else group.kind in ("embedding", "head")


def _exclusions(lora: Lora) -> Iterator[tuple[Path, str]]:
    if isinstance(lora.exclude_modules, str):
        yield ("exclude_modules",), lora.exclude_modules
    else:
        yield from ((("exclude_modules", index), name) for index, name in enumerate(lora.exclude_modules))


def _patterns(lora: Lora) -> Iterator[tuple[Path, str]]:
    for key in ("rank_pattern", "alpha_pattern"):
        yield from (((key, text), text) for text in getattr(lora, key))


def _adapted(group: Group, found: Reach, lora: Lora) -> Iterator[str]:
    """Full names, as patterns see them, of a group's modules that get an adapter."""
    if group.path in {one.path for one in found.reached if one.expert}:
        yield from (path if isinstance(group, Linear) else f"{path}.weight" for path in paths(group))
    elif group.path in {one.path for one in found.reached}:
        targets = ".*" if lora.target_modules == ALL_LINEAR else lora.target_modules
        yield from (path for path in paths(group) if peft_names.is_target(lora, path, targets))


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


def _saved_names(lora: Section, model: ModelFacts) -> tuple[str, ...]:
    is_tied = model.tie_word_embeddings and peft_names.saves_embedding(lora)
    return peft_names.tied_saved(lora.modules_to_save, model.others) if is_tied else lora.modules_to_save


def _saved_parameters(names: Sequence[str], model: ModelFacts) -> int:
    return sum(_own_parameters(group) for _, group in _saved_paths(names, model)) if names else 0


def _own_parameters(group: Group) -> int:
    if isinstance(group, OtherModule):
        # a tied head has no weights of its own until it is copied
        return group.parameters or (group.shape[0] * group.shape[1] if group.shape else 0)
    size = group.in_features * group.out_features + (group.out_features if group.bias else 0)
    return size * (group.experts or 1)


def _biases(lora: Section, model: ModelFacts, reached: Sequence[Reached]) -> int:
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
