"""What facts of this machine make of a recipe."""

from typing import Any

import pytest

from sftrun.diagnostics import Path
from sftrun.facts.values import Machine
from sftrun.plan.check.by_facts import check
from tests.plan.samples import facts, recipe
from tests.plan.shapes import deeper

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


def test_a_model_that_the_machine_s_processors_can_t_hold_is_said() -> None:
    about = facts(model=deeper(4), machine=Machine(memory_gb=24))
    (found,) = (one for one in check(recipe(compute=LOCAL), about, {}) if one.code == "G108")
    assert found.message == "the model's weights take 29 GB of memory, this machine has 24 GB"
    assert found.at == ("model", "name_or_path")


@pytest.mark.parametrize(
    ("machine", "sections"),
    [
        (Machine(memory_gb=64), {}),
        (Machine(), {}),
        (Machine(memory_gb=24), {"quantization": {"load_in_4bit": True}}),
        (Machine(memory_gb=24, gpu_name="NVIDIA H100", gpu_count=1), {}),
        (Machine(memory_gb=24), {"compute": {"executor": "modal", "gpu": "H200"}}),
    ],
)
def test_a_machine_that_holds_the_weights_or_needs_not_is_no_matter(machine: Machine, sections: dict[str, Any]) -> None:
    about = facts(model=deeper(4), machine=machine)
    found = check(recipe(**({"compute": LOCAL} | sections)), about, {})
    assert "G108" not in [one.code for one in found]
