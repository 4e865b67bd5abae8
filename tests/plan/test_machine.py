"""The machine's own memory: what sharded weights take of it is asked for, and too little is said at its key."""

from typing import Any

import pytest

from sftrun.diagnostics import Diagnostic
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Facts, Machine, ModelFacts
from sftrun.plan.build import build
from sftrun.plan.check import estimated
from sftrun.plan.estimate import total
from sftrun.plan.estimate.host_memory import converted_bytes, held, saved_bytes
from sftrun.plan.types import Plan
from sftrun.recipe.models import Recipe
from tests.plan.samples import facts, recipe
from tests.plan.shapes import deeper, phi3, setup

SHARDED = {"gpus": 4, "sharded": True, "nf4": False}


def made(gpu: str = "H100:4", **sections: Any) -> Recipe:
    """Full fine-tuning of 14 B weights; `compute` is added to."""
    compute = {"executor": "modal", "gpu": gpu} | sections.pop("compute", {})
    trainer = {"max_steps": 1000, "max_length": 512, "per_device_train_batch_size": 1}
    return recipe(**{"lora": None, "compute": compute, "trainer": trainer} | sections)


def known(model: ModelFacts | None = None, **values: Any) -> Facts:
    return facts(model=model or deeper(4), catalog=catalog.shipped(), **values)


def plan(one: Recipe, about: Facts) -> Plan:
    return total.priced(build(one, about, folders={}), about)


def said(one: Recipe, about: Facts) -> list[Diagnostic]:
    found = estimated.check(plan(one, about), about, lambda changed: build(changed, about, folders={}))
    return [diagnostic for diagnostic in found if diagnostic.code == "G108"]


def test_what_sharded_weights_take_of_the_machine_is_asked_for_and_priced() -> None:
    whole = plan(made(), known())
    assert whole.step.sharding == "fsdp"
    # the optimiser's two moments of 14.7 B weights in 32 bits, and the libraries
    assert whole.compute.memory_mib == 118 * 1024
    (reason,) = (one.reason for one in whole.decisions if one.at == "compute.memory")
    assert reason == "the process that saves holds what is trained"
    less = plan(made(compute={"memory": "16GiB"}), known())
    assert whole.cost is not None
    assert less.cost is not None
    assert whole.cost.usd_memory > 5 * less.cost.usd_memory


def test_a_sharded_adapter_is_too_small_to_ask_for() -> None:
    whole = plan(made(lora={}, trainer={"max_steps": 9, "extra": {"fsdp": True}}), known())
    assert whole.step.sharding == "fsdp"
    assert whole.compute.memory_mib is None


def test_weights_that_are_trained_on_one_gpu_are_copied_from_it_to_be_saved() -> None:
    narrow = {"name_or_path": "builtin:tiny", "dtype": "bfloat16"}
    whole = plan(made("H100", model=narrow), known(phi3()))
    assert saved_bytes(setup(rank=None, nf4=False)) == 2 * phi3().parameters
    assert whole.compute.memory_mib == 16 * 1024
    large = setup(rank=None, nf4=False)._replace(model=deeper(20))
    assert saved_bytes(large) == 50e9  # a file of several


@pytest.mark.parametrize("gpu", ["H100", "H200:4"])
def test_frozen_weights_go_to_each_gpu_through_their_files_pages_and_ask_for_none(gpu: str) -> None:
    whole = plan(made(gpu, lora={}), known(phi3()))
    assert whole.step.sharding != "fsdp"
    assert whole.compute.memory_mib is None


def test_a_frozen_model_of_its_files_own_type_is_not_copied() -> None:
    other = setup(**SHARDED)._replace(model=phi3().model_copy(update={"dtype": "float32"}))
    assert converted_bytes(setup(**SHARDED)) == 0
    assert converted_bytes(other) == 2 * phi3().parameters
    assert converted_bytes(other._replace(trainer=other.trainer, quantization=setup().quantization)) == 0


def test_all_weights_are_widened_before_they_are_shared_out_and_their_state_is_gathered_whole() -> None:
    trained = setup(rank=None, **SHARDED)
    assert converted_bytes(trained) == 4 * phi3().parameters
    assert saved_bytes(trained) == 8 * phi3().parameters
    plain = setup(rank=None, optim="sgd", **SHARDED)
    assert saved_bytes(plain) == 4 * phi3().parameters


def test_too_little_memory_is_said_at_its_key_with_what_is_enough() -> None:
    (found,) = said(made(compute={"memory": 16384}), known())
    assert found.at == ("compute", "memory")
    assert found.severity == "warning"
    assert found.help == "write `memory: 118GiB`, or take it out"
    assert not said(made(compute={"memory": "118GiB"}), known())
    assert not said(made(), known())


def test_more_than_modal_guarantees_is_said_and_as_much_as_it_does_is_asked_for() -> None:
    about = known(deeper(20))
    (found,) = said(made("B200:8"), about)
    assert "336 GiB are the most to be asked for" in found.message
    assert plan(made("B200:8"), about).compute.memory_mib == 336 * 1024


def test_a_machine_of_one_s_own_is_looked_at() -> None:
    machine = Machine(gpu_name="NVIDIA H100", gpu_count=4, gpu_memory_gb=84, memory_gb=64)
    local = made(compute={"executor": "local"})
    (found,) = said(local, known(machine=machine))
    assert found.message.endswith("this machine has 60 GiB")
    assert held(plan(local, known(machine=machine)), known(machine=machine)) is not None
    assert not said(local, known(machine=machine.model_copy(update={"memory_gb": 512})))
