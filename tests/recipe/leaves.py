"""The keys of a recipe that hold values, by their dotted paths."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def leaves(model: type[BaseModel], at: str = "") -> dict[str, FieldInfo]:
    """Dotted key -> field, of all sections, those in lists and mappings too; a section is no leaf."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        sections = list(sections_in(field.annotation))
        for section in sections:
            found |= leaves(section, f"{at}{name}.")
        if not sections:
            found[f"{at}{name}"] = field
    return found


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic classes that a type can hold, through unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, list, dict):
        for part in get_args(annotation):
            yield from sections_in(part)
