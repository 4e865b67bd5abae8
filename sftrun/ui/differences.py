"""What tells runs' recipes apart: each key whose resolved value is not the same in all.  Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sftrun.plan.types import Plan

SECTIONS: Final = {"model", "quantization", "lora", "dataset", "trainer", "step", "samples", "compute"}
ABSENT: Final = "–"


def between(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """`key` and the `values` of the plans, in their order; a key that a plan doesn't have is a dash."""
    all_leaves = [dict(_leaves(plan.model_dump(mode="json", include=SECTIONS))) for plan in plans]
    keys = dict.fromkeys(key for leaves in all_leaves for key in leaves)
    rows = ((key, [leaves.get(key, ABSENT) for leaves in all_leaves]) for key in keys)
    return [{"key": key, "values": values} for key, values in rows if len(set(values)) > 1]


def _leaves(value: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        path = f"{at}.{key}" if at else key
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, path)
        else:
            yield path, inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
