"""Tensor names of a checkpoint as transformers 5 knows them: renamed, and experts stacked in one parameter a layer."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sftrun.facts.values import Linear

_EXPERT = re.compile(r"^(.*\.experts)\.(\d+)\.(\w+)\.(weight|bias)$")
_STACKED = re.compile(r"^(.*\.experts)\.(\w+?)(_bias)?$")
_EXPERT_NAMES = {"w1": "gate_up_proj", "w3": "gate_up_proj", "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj"}
_RENAMES = (
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^(vision_tower|multi_modal_projector)\."), r"model.\1."),
    (re.compile(r"\.block_sparse_moe\.router\.layer\."), ".mlp.router."),
    (re.compile(r"\.block_sparse_moe\."), ".mlp."),
)


class Tensor(NamedTuple):
    """What a safetensors header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


def is_expert(name: str, tensor: Tensor) -> bool:
    """True for a matrix of one expert, or of all of a layer's experts, which make no module."""
    return bool(_EXPERT.match(name)) or (len(tensor.shape) >= 2 and bool(_STACKED.match(name)))


def renamed(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


def starred(path: str) -> tuple[str, int]:
    """(`model.layers.*.mlp`, 3) of `model.layers.3.mlp`; only the first number is a layer's."""
    found = re.search(r"\.(\d+)(?=\.|$)", path)
    return (path[: found.start()] + ".*" + path[found.end() :], int(found[1])) if found else (path, -1)


def gaps(layers: set[int]) -> tuple[int, ...]:
    return () if layers in ({-1}, set(range(len(layers)))) else tuple(sorted(layers))


def expert_stacks(tensors: Mapping[str, Tensor]) -> Iterator[Linear]:
    """Experts as transformers stacks them: gate and up in one matrix, every expert of a layer in one parameter."""
    shapes: dict[tuple[str, int, int, int, bool], set[int]] = defaultdict(set)
    for (layer_path, name), (experts, rows, columns, bias) in _stacks(tensors).items():
        path, layer = starred(f"{layer_path}.{name}")
        shapes[path, experts, rows, columns, bias].add(layer)
    for (path, experts, rows, columns, bias), layers in shapes.items():
        yield Linear(
            name=path.rpartition(".")[2],
            in_features=columns,
            out_features=rows,
            count=len(layers) * experts,
            fused=path.endswith("gate_up_proj"),
            expert=True,
            path=path,
            layers=gaps(layers),
            bias=bias,
            experts=experts,
        )


def _stacks(tensors: Mapping[str, Tensor]) -> dict[tuple[str, str], tuple[int, int, int, bool]]:
    singles: dict[tuple[str, str], dict[str, tuple[int, ...]]] = defaultdict(dict)
    stacks: dict[tuple[str, str], tuple[int, int, int, bool]] = {}
    for raw, tensor in tensors.items():
        name = renamed(raw)
        if single := _EXPERT.match(name):
            path, number, part, kind = single.groups()
            fused = _EXPERT_NAMES.get(part, "down_proj" if part in ("w2", "down_proj") else part)
            singles[path, fused][f"{number}.{part}.{kind}"] = tensor.shape
        elif (stacked := _STACKED.match(name)) and len(tensor.shape) == 3 and not stacked[3]:
            has_bias = f"{raw}_bias" in tensors
            experts, a, b = tensor.shape
            # gpt-oss keeps (experts, in, out), and is the one with biases
            stacks[stacked[1], stacked[2]] = (experts, b, a, True) if has_bias else (experts, a, b, False)
    for key, parts in singles.items():
        experts = len({part.split(".")[0] for part in parts})
        weights = [shape for part, shape in parts.items() if part.endswith(".weight")]
        rows = sum(shape[0] for shape in weights) // experts
        stacks[key] = (experts, rows, weights[0][1], len(weights) < len(parts))
    return stacks
