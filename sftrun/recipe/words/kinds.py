"""What a key takes, in words: read off the models' own types, so that messages can't drift from the rules."""

import types
import typing
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from sftrun.diagnostics import Path
from sftrun.recipe.models import Recipe


def fields_of(kind: object) -> tuple[str, ...]:
    """The keys of a section's type; () for what is no section."""
    return tuple(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else ()


def section_at(path: Path) -> type[BaseModel] | None:
    """The model that judges the mapping at `path`, if it is a section."""
    return section_of(kind_at(path))


def section_of(kind: Any) -> type[BaseModel] | None:
    """The section among the types that can stand there."""
    found = [part for part in map(_base, _parts(kind)) if fields_of(part)]
    return typing.cast("type[BaseModel]", found[0]) if found else None


def kind_at(path: Path) -> Any:
    """The type of the value at `path` (with its bounds, as Annotated); None if the recipe has no such key."""
    kind: Any = Recipe
    for key in path:
        kind = next((child for part in map(_base, _parts(kind)) if (child := _child(part, key)) is not None), None)
        if kind is None:
            return None
    return kind


def choices(kind: Any) -> tuple[str, ...]:
    """The words that a key takes, those inside of a list too."""
    found: list[str] = []
    for part in _parts(kind):
        if get_origin(part) is Literal:
            found += [value for value in get_args(part) if isinstance(value, str)]
        elif get_origin(part) is tuple:
            found += choices(get_args(part)[0])
    return tuple(dict.fromkeys(found))


def takes(kind: Any, python: type) -> bool:
    """Whether a value of the Python type can stand there."""
    return any(_base(part) is python for part in _parts(kind))


def item_kind(kind: Any) -> Any:
    """The type of a list's items; None if no list can stand there."""
    return next((get_args(part)[0] for part in map(_base, _parts(kind)) if get_origin(part) is tuple), None)


def words(kind: Any) -> str:
    """`a whole number of at least 1, or auto`: what can stand there."""
    literal = ["`true`", "`false`"] if takes(kind, bool) else []
    literal += [f"`{word}`" for part in _parts(kind) if get_origin(part) is Literal for word in get_args(part)]
    others = [_words_of(part) for part in _parts(kind) if get_origin(part) is not Literal and part is not type(None)]
    found = list(dict.fromkeys(word for word in others + literal if word))
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}" if found else "another value"


def usual(path: Path) -> str | None:
    """The default of a key, or its first example, as one would write it; None where there is neither."""
    section = section_at(path[:-1])
    field = section.model_fields.get(str(path[-1])) if section is not None and path else None
    if field is None:
        return None
    if isinstance(field.default, bool | int | float | str):
        text = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        return f"leave it out for the default, {text}"
    return f"for example `{path[-1]}: {field.examples[0]}`" if field.examples else None


def description(path: Path) -> str:
    """What the key is for, from the models."""
    if not path:
        return (Recipe.__doc__ or "").strip()
    section = section_at(path[:-1])
    field = section.model_fields.get(str(path[-1])) if section is not None else None
    return (field.description or "") if field is not None else ""


@cache
def everywhere() -> dict[str, tuple[str, ...]]:
    """Each key's name -> the dotted sections that have it."""
    places: dict[str, list[str]] = {}

    def walk(kind: type[BaseModel], at: tuple[str, ...]) -> None:
        for name in kind.model_fields:
            places.setdefault(name, []).append(".".join(at))
            below = section_at((*at, name))
            if below is not None:
                walk(below, (*at, name))

    walk(Recipe, ())
    return {name: tuple(at) for name, at in places.items()}


def _child(kind: Any, key: str | int) -> Any:
    if fields_of(kind):
        field = kind.model_fields.get(key)
        if field is None:
            return None
        return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    if get_origin(kind) is tuple and isinstance(key, int):
        return get_args(kind)[0]
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return None


def _parts(kind: Any) -> list[Any]:
    """The members of a union, each with the bounds that hold for it."""
    if get_origin(kind) is Annotated:
        inner, *bounds = get_args(kind)
        return [Annotated[(part, *bounds)] for part in _parts(inner)]
    if get_origin(kind) in (Union, types.UnionType):
        return [part for member in get_args(kind) for part in _parts(member)]
    return [] if kind is None else [kind]


def _base(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


_PLAIN = {str: "a text", int: "a whole number", float: "a number"}


def _words_of(kind: Any) -> str:
    base = _base(kind)
    if base in _PLAIN:
        return _PLAIN[base] + _bounds(kind)
    if getattr(base, "__name__", "") == "Decimal":
        return "an amount" + _bounds(kind)
    if get_origin(base) is tuple:
        return f"a list of {_plural(get_args(base)[0])}"
    if fields_of(base) or get_origin(base) is dict:
        return "a mapping"
    if get_origin(base) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(base))
    return ""


def _plural(kind: Any) -> str:
    if choices(kind):
        return ", ".join(choices(kind))
    return {str: "texts", int: "whole numbers", float: "numbers"}.get(_base(kind), "values")


def _bounds(kind: Any) -> str:
    found: list[Any] = []
    while get_origin(kind) is Annotated:
        inner, *bounds = get_args(kind)
        for bound in bounds:
            found += getattr(bound, "metadata", [bound])
        kind = inner
    said = []
    for bound in found:
        if isinstance(bound, Ge):
            said.append(f"of at least {bound.ge}")
        elif isinstance(bound, Gt):
            said.append(f"above {bound.gt}")
        elif isinstance(bound, Le):
            said.append(f"at most {bound.le}")
        elif isinstance(bound, Lt):
            said.append(f"below {bound.lt}")
    return "".join(f" {' and '.join(said)}") if said else ""
