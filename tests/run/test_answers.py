"""On what a finished run's models answer: one GPU where one holds them, else those that shared the weights."""

from typing import Any

import pytest

from sftrun.errors import RunFailed
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Machine
from sftrun.plan.build import build
from sftrun.plan.estimate import total
from sftrun.plan.types import Plan
from sftrun.run.local import require_room
from sftrun.run.modal.asking import gpu_for
from tests.plan.samples import facts, recipe
from tests.plan.shapes import deeper

CATALOG = catalog.shipped()
H100S = Machine(gpu_name="NVIDIA H100", gpu_count=8, gpu_memory_gb=84.9)


def plan(times_as_deep: int, *, executor: str = "modal", machine: Machine = H100S, **sections: Any) -> Plan:
    """Phi-3-mini with so many times its layers, by LoRA on four GPUs that share the weights."""
    about = facts(model=deeper(times_as_deep), catalog=CATALOG, machine=machine)
    base = {"compute": {"executor": executor, "gpu": "H100:4"}, "trainer": {"max_steps": 9, "extra": {"fsdp": True}}}
    return total.priced(build(recipe(**(base | sections)), about, folders={}), about)


@pytest.mark.parametrize(("times_as_deep", "gpu"), [(4, "L40S"), (20, "B200"), (50, "H100:4")])
def test_a_sharded_model_answers_on_the_cheapest_gpu_that_holds_it_whole(times_as_deep: int, gpu: str) -> None:
    assert gpu_for(plan(times_as_deep)) == gpu


def test_a_model_that_was_whole_on_each_gpu_needs_one() -> None:
    assert ":" not in str(gpu_for(plan(4, trainer={"max_steps": 9, "extra": {"fsdp": False}})))


def test_fewer_gpus_than_hold_the_weights_are_refused_before_anything_is_loaded() -> None:
    made = plan(20, executor="local")
    require_room(made, H100S)
    with pytest.raises(
        RunFailed, match=r"answering takes about 15\d GB of GPU memory, of which this machine has 1 × 85"
    ):
        require_room(made, H100S.model_copy(update={"gpu_count": 1}))
    with pytest.raises(RunFailed, match="has no GPU"):
        require_room(made, Machine())
