"""What facts of this machine make of a recipe."""

from typing import Any

import pytest

from sftrun.diagnostics import Path
from sftrun.facts.models import Machine
from sftrun.plan.checks import check
from tests.plan.samples import facts, recipe

T4 = Machine(gpu_name="Tesla T4", gpu_count=1, gpu_memory_gb=15.5, has_bf16=False)
LOCAL = {"executor": "local"}


def without_bf16(machine: Machine = T4, **sections: Any) -> list[Path]:
    found = check(recipe(compute=LOCAL, **sections), facts(machine=machine), {})
    return [one.at for one in found if one.code == "G104"]


@pytest.mark.parametrize(
    ("at", "sections"),
    [
        (("trainer", "bf16"), {"trainer": {"bf16": True}}),
        (("model", "dtype"), {"model": {"name_or_path": "builtin:tiny", "dtype": "bfloat16"}}),
        (
            ("quantization", "bnb_4bit_compute_dtype"),
            {"quantization": {"load_in_4bit": True, "bnb_4bit_compute_dtype": "bfloat16"}},
        ),
    ],
)
def test_bfloat16_that_the_gpu_of_this_machine_lacks_is_said_at_its_key(at: Path, sections: dict[str, Any]) -> None:
    assert without_bf16(**sections) == [at]
    assert without_bf16(Machine(gpu_name="NVIDIA H200", gpu_count=1), **sections) == []


def test_what_has_no_type_written_is_right_for_every_gpu() -> None:
    assert without_bf16(quantization={"load_in_4bit": True}) == []
