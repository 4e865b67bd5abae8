"""Which modules get an adapter, and of which rank: PEFT's matching of full names, without torch.  Pure.

PEFT 0.21: a name in a list matches a module's whole name or its end; a text is a regular expression of the whole name;
a pattern of ranks or scales is one of the whole name or of its end.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from sftrun.facts.values import Linear, OtherModule

ALL_LINEAR: Final = "all-linear"
_EMBEDDINGS: Final = ("embed_tokens", "lm_head")  # that PEFT ties, by the last part of a name in `modules_to_save`
Names = str | Sequence[str]
Group = Linear | OtherModule
_LAYER: Final = re.compile(r".*?\.[^.]*\.(\d+)\.")


class Section(Protocol):
    """What `lora` says of it, in a recipe as in a job."""

    @property
    def r(self) -> int: ...
    @property
    def use_dora(self) -> bool: ...
    @property
    def bias(self) -> str: ...
    @property
    def target_modules(self) -> Names: ...
    @property
    def target_parameters(self) -> tuple[str, ...]: ...
    @property
    def exclude_modules(self) -> Names: ...
    @property
    def layers_to_transform(self) -> tuple[int, ...]: ...
    @property
    def rank_pattern(self) -> Mapping[str, int]: ...
    @property
    def modules_to_save(self) -> tuple[str, ...]: ...


def paths(group: Group) -> Iterator[str]:
    """Full names of a group's modules."""
    if "*" not in group.path:
        yield group.path
        return
    for layer in group.layers or range(group.count // (getattr(group, "experts", 0) or 1)):
        yield group.path.replace("*", str(layer), 1)


def ends(path: str, name: str) -> bool:
    """Whether a full name is that name, or ends with it."""
    return path == name or path.endswith(f".{name}")


def matches(path: str, names: Names) -> bool:
    """Whether a list, or a regular expression, means a module of that full name."""
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(ends(path, name) for name in names)


def is_excluded(lora: Section, path: str) -> bool:
    """Whether no target reaches the module: it is left out, saved whole, or inside of what is saved whole."""
    return matches(path, lora.exclude_modules or ()) or _is_saved(path, lora.modules_to_save)


def is_target(lora: Section, path: str, targets: Names) -> bool:
    """Whether a module gets an adapter: of `targets`, and in a layer that is meant or by its whole name."""
    if is_excluded(lora, path) or not matches(path, targets):
        return False
    layers = lora.layers_to_transform
    return not layers or layer_of(path) in layers or (not isinstance(targets, str) and path in targets)


def saves_embedding(lora: Section) -> bool:
    """Whether `modules_to_save` has an embedding or a head that PEFT can keep tied to the other."""
    return any(name.rpartition(".")[2] in _EMBEDDINGS for name in lora.modules_to_save)


def tied_saved(names: Sequence[str], others: Sequence[OtherModule]) -> tuple[str, ...]:
    """`modules_to_save` of a model with tied weights: the embedding stands for the head too."""
    heads = [other for other in others if other.kind == "head"]
    shapes = {head.shape for head in heads}
    embeddings = (other.path for other in others if other.kind == "embedding" and other.shape in shapes)
    return (*(name for name in names if not any(ends(head.path, name) for head in heads)), *embeddings)


def layer_of(path: str) -> int | None:
    """The number of the layer that a module stands in."""
    found = _LAYER.match(path)
    return int(found[1]) if found else None


def rank(lora: Section, path: str, otherwise: int | None = None) -> int:
    """Of the adapter on a module: the first pattern's that means it; else `otherwise`, by default `r`."""
    found = pattern(lora.rank_pattern, path)
    return lora.rank_pattern[found] if found is not None else otherwise or lora.r


def pattern(patterns: Mapping[str, object], path: str) -> str | None:
    """The first pattern that means a module."""
    return next((one for one in patterns if re.match(rf"(.*\.)?({one})$", path)), None)


def _is_saved(path: str, names: Sequence[str]) -> bool:
    return any(re.match(rf"(^|.*\.){name}($|\..*)", path) for name in map(re.escape, names))
