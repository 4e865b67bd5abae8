"""Wrong values taken out and missing ones stood in for, so that the checks can look at the rest of a recipe."""

from typing import Any

from pydantic import ValidationError

from sftrun.diagnostics import Path
from sftrun.recipe.read.nodes import Source
from sftrun.recipe.words.problems import along_the_tree

# what stands in for a required key, so that the checks can look at the rest
_STAND_INS: dict[Path, object] = {
    ("name",): "name",
    ("model",): {"name_or_path": "name"},
    ("model", "name_or_path"): "name",
    ("dataset",): {"train": {"path": "rows.jsonl"}},
    ("dataset", "train"): {"path": "rows.jsonl"},
    ("output",): {"dir": "/data/name"},
    ("output", "dir"): "/data/name",
}


def without(values: Any, error: ValidationError, source: Source) -> tuple[Any, tuple[Path, ...]]:
    """The values with what is wrong taken out and what is missing filled in, and where that was done."""
    holes = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        path = along_the_tree(one["loc"], source)
        if one["type"] == "missing":
            path = (*path, one["loc"][-1])
        values = _put(values, path, _STAND_INS.get(path))
        holes.append(path)
    return values, tuple(holes)


def _put(values: Any, path: Path, value: object) -> Any:
    """A copy with `value` at `path`; taken out if the value is None.  Of a list, the whole list goes."""
    if not path or not isinstance(values, dict):
        return value
    key, *rest = path
    below = _put(values.get(key), tuple(rest), value)
    return {name: child for name, child in {**values, key: below}.items() if child is not None}
