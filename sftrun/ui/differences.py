"""What tells runs' recipes apart: each key whose resolved value is not the same in all.  Pure."""

from collections.abc import Sequence
from typing import Any, Final

from sftrun.plan.types import Plan
from sftrun.report.show.html import leaves

SECTIONS: Final = {"model", "quantization", "lora", "dataset", "trainer", "step", "samples", "compute"}
ABSENT: Final = "–"


def between(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """`key` and the `values` of the plans, in their order; a key that a plan doesn't have is a dash."""
    all_leaves = [dict(leaves(plan.model_dump(mode="json", include=SECTIONS))) for plan in plans]
    keys = dict.fromkeys(key for leaves in all_leaves for key in leaves)
    rows = ((key, [leaves.get(key, ABSENT) for leaves in all_leaves]) for key in keys)
    return [{"key": key, "values": values} for key, values in rows if len(set(values)) > 1]
