"""A recipe in the making, and what became of each key of the other tool's file."""

from functools import cache
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sftrun.diagnostics import Path
from sftrun.recipe.foreign.foreign_file import Table
from sftrun.recipe.known import sft_config
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source
from sftrun.strict import Strict

# same: the run is the same without it; differs: it would be another; refused: no run that a recipe can be
Weight = Literal["same", "differs", "refused"]

_EXTRA = "trainer.extra."


class Left(NamedTuple):
    """A value that has no place in the recipe, and why."""

    at: Path
    value: Any
    why: str
    weight: Weight


class Draft:
    """Dotted keys of a recipe with their values; `left` is what could not be carried over.

    `used` are the file's keys that had a say, `defaults` keys of ours that the file leaves out, `todo` what only its
    author knows, `remarks` what the other tool does besides, and `files` what is to stand beside the recipe.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.is_lora = False
        self.values: dict[str, Any] = {}
        self.left: list[Left] = []
        self.defaults: set[str] = set()
        self.todo: dict[str, str] = {}
        self.remarks: list[str] = []
        self.files: dict[str, str] = {}
        self.used: set[str] = set()

    def put(self, at: Path, dotted: str, value: Any, *, theirs: Any = None) -> None:
        """The value under our key, where the recipe has such a key that takes it; else it is one that differs."""
        fault = fault_of(dotted, value)
        self.use(str(at[0]))
        if fault is None:
            self.values[dotted] = value
        else:
            self.differ(at, value if theirs is None else theirs, fault)

    def set(self, dotted: str, value: Any, *keys: str) -> None:
        """A value that follows from these keys of the file."""
        self.values[dotted] = value
        self.use(*keys)

    def use(self, *keys: str) -> None:
        """Say that these keys of the file have had their say."""
        self.used.update(keys)

    def same(self, at: Path, value: Any, why: str) -> None:
        self._leave(Left(at, value, why, "same"))

    def differ(self, at: Path, value: Any, why: str) -> None:
        self._leave(Left(at, value, why, "differs"))

    def refuse(self, at: Path, value: Any, why: str) -> None:
        self._leave(Left(at, value, why, "refused"))

    def _leave(self, left: Left) -> None:
        self.left.append(left)
        self.use(str(left.at[0]))

    def default(self, dotted: str, value: Any) -> None:
        """What the other tool does where its file says nothing of it."""
        if dotted not in self.values and fault_of(dotted, value) is None:
            self.values[dotted] = value
            self.defaults.add(dotted)

    def has(self, section: str) -> bool:
        """Whether anything stands in that section."""
        return any(key == section or key.startswith(section + ".") for key in self.values)

    def drop(self, section: str) -> None:
        """Take out a section with all that stands in it."""
        for key in [key for key in self.values if key == section or key.startswith(section + ".")]:
            self.defaults.discard(key)
            del self.values[key]


def fault_of(dotted: str, value: Any) -> str | None:
    """Why a recipe has no place for the value under that key; None where it has."""
    if dotted.startswith(_EXTRA):
        known = sft_config()["fields"]
        return None if dotted.removeprefix(_EXTRA) in known else "no field of TRL's SFTConfig"
    field = field_of(dotted)
    if field is None:
        return f"a recipe has no `{dotted}`"
    try:
        adapter(dotted).validate_python(tuple(value) if isinstance(value, list) else value)
    except ValidationError:
        return f"`{dotted}` does not take it"
    return None


@cache
def adapter(dotted: str) -> TypeAdapter[Any]:
    """What judges the values of that key."""
    field = field_of(dotted)
    assert field is not None
    return TypeAdapter(field.rebuild_annotation())


def field_of(dotted: str) -> FieldInfo | None:
    """The recipe's field of that name.  A source of rows is named by `dataset.train` alone."""
    model: type[Strict] = Recipe
    names = dotted.split(".")
    for depth, name in enumerate(names, 1):
        field = model.model_fields.get(name)
        if field is None or depth == len(names):
            return field
        if name in ("train", "eval"):
            model = Source
        elif (below := _section(field)) is not None:
            model = below
        else:
            return None
    return None


def source_has(key: str) -> bool:
    """Whether a source of rows can say that."""
    return key in Source.model_fields


def _section(field: FieldInfo) -> type[Strict] | None:
    kinds = getattr(field.annotation, "__args__", (field.annotation,))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Strict)), None)
