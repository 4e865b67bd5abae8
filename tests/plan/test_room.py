"""Weights are sharded over GPUs where one has no room for all of them, and only there."""

from typing import Any

import pytest

from sftrun.facts.values import Catalog
from sftrun.plan.build import build
from sftrun.plan.check import advice
from sftrun.plan.estimate import total
from sftrun.plan.types import Plan
from sftrun.recipe.models import Recipe
from tests.plan.samples import H200, PRICES, facts, recipe
from tests.plan.shapes import phi3


def written(gpu: str = "H200:4", **sections: Any) -> Recipe:
    """Full fine-tuning of 3.8 B weights by the shortest step."""
    base: dict[str, Any] = {"lora": None, "compute": {"executor": "modal", "gpu": gpu}}
    base["trainer"] = {"max_steps": 1000, "max_length": 512, "per_device_train_batch_size": 1}
    base["trainer"] |= sections.pop("trainer", {})
    return recipe(**(base | sections))


def plan(memory_gb: float, made: Recipe) -> Plan:
    catalog = Catalog(gpus=(H200.model_copy(update={"memory_gb": memory_gb}),), prices=PRICES)
    known = facts(model=phi3(), catalog=catalog)
    return total.priced(build(made, known, folders={}), known)


def test_weights_that_fit_no_gpu_whole_are_sharded_and_the_reason_says_so() -> None:
    made = plan(32, written())
    assert made.step.sharding == "fsdp"
    assert (made.step.compiled, made.step.dequantized) == (False, False)
    (reason,) = (decision.reason for decision in made.decisions if decision.at == "step.sharding")
    assert reason == "18 GB a GPU, not 78 GB as with all weights on each; a GPU has 32 GB"
    assert made.memory is not None
    assert made.memory.fits


@pytest.mark.parametrize(
    ("memory_gb", "sections"),
    [
        (141, {}),  # they fit
        (16, {}),  # sharded they don't fit either
        (32, {"gpu": "H200"}),
        (32, {"trainer": {"extra": {"fsdp": False}}}),
        (32, {"trainer": {"optim": "adafactor"}}),
        (32, {"trainer": {"fp16": True}}),
        (32, {"compute": {"executor": "modal", "gpu": "H200:8", "nodes": 2}}),
    ],
)
def test_weights_are_whole_on_each_gpu_otherwise(memory_gb: float, sections: dict[str, Any]) -> None:
    made = plan(memory_gb, written(**sections))
    assert made.step.sharding != "fsdp"
    assert not [decision for decision in made.decisions if decision.at == "step.sharding"]


def test_weights_are_sharded_where_the_recipe_says_so_and_there_are_several_gpus() -> None:
    extra = {"fsdp": True, "fsdp_config": {"reshard_after_forward": False}}
    several, one = (plan(141, written(gpu, trainer={"extra": extra})) for gpu in ("H200:4", "H200"))
    assert (several.step.sharding, several.step.keeps_fetched, several.trainer.extra) == ("fsdp", True, extra)
    assert (one.step.sharding, one.trainer.extra) == ("one", {})


def test_what_is_written_and_has_nobody_to_share_with_is_said() -> None:
    made = plan(141, written("H200", trainer={"extra": {"fsdp": True}}))
    (said,) = (decision for decision in made.decisions if decision.at == "step.sharding")
    assert (said.value, said.reason) == ("one", "one GPU has no other to share the weights with")


def test_one_machine_is_advised_where_its_gpus_can_share_what_each_of_several_machines_can_t_hold() -> None:
    catalog = Catalog(gpus=(H200.model_copy(update={"memory_gb": 32}),), prices=PRICES)
    known = facts(model=phi3(), catalog=catalog)
    made = written(compute={"executor": "modal", "gpu": "H200:8", "nodes": 2})
    ways = advice.to_fit(made, known, lambda changed: build(changed, known, folders={}))
    assert dict(ways[0].keys) == {"compute.nodes": 1, "trainer.gradient_accumulation_steps": 2}
    assert ways[0].same_result


def test_no_optimiser_is_advised_that_cannot_update_sharded_weights() -> None:
    catalog = Catalog(gpus=(H200.model_copy(update={"memory_gb": 16}),), prices=PRICES)
    known = facts(model=phi3(), catalog=catalog)
    made = written(trainer={"extra": {"fsdp": True}, "max_length": 4096})
    ways = advice.to_fit(made, known, lambda changed: build(changed, known, folders={}), most=99)
    assert not [way for way in ways if "optim" in way.words]
