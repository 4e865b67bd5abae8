"""Each `auto` becomes a value with a reason; what changes the result is never chosen."""

from typing import Any

import pytest

from sftrun.facts.models import Machine
from sftrun.plan.build import build
from sftrun.plan.models import Plan
from tests.plan.samples import facts, recipe


def plan(**sections: Any) -> Plan:
    return build(recipe(**sections), facts(), folders={"model.name_or_path": "/r"})


def reasons(made: Plan) -> dict[str, str]:
    return {decision.at: decision.value for decision in made.decisions}


def test_each_decision_says_its_reason() -> None:
    made = plan()
    assert made.decisions
    assert all(decision.reason for decision in made.decisions)


def test_a_learning_rate_is_chosen_by_the_method() -> None:
    assert plan().trainer.learning_rate == 2e-4
    assert plan(lora=None).trainer.learning_rate == 2e-5
    assert plan(trainer={"learning_rate": 1e-3}).trainer.learning_rate == 1e-3


def test_neither_epochs_nor_steps_is_one_pass_and_said() -> None:
    made = plan()
    assert made.trainer.num_train_epochs == 1
    assert reasons(made)["trainer.num_train_epochs"] == "1"
    assert "trainer.num_train_epochs" not in reasons(plan(trainer={"max_steps": 5}))


def test_packed_rows_never_see_each_other_even_without_a_gpu() -> None:
    made = plan(trainer={"packing": True}, compute={"executor": "local"})
    assert made.model.attn_implementation == "varlen"


def test_padding_goes_where_the_gpu_has_variable_length_attention() -> None:
    assert plan().trainer.padding_free
    assert not plan(trainer={"packing": True}).trainer.padding_free
    assert not plan(compute={"executor": "modal", "gpu": "T4"}).trainer.padding_free


def test_a_gpu_without_bfloat16_gets_float16() -> None:
    made = plan(compute={"executor": "modal", "gpu": "T4"})
    assert (made.trainer.bf16, made.trainer.fp16) == (False, True)


def test_without_a_gpu_the_paged_optimiser_is_the_plain_one() -> None:
    made = plan(trainer={"optim": "paged_adamw_8bit"}, compute={"executor": "local"})
    assert made.trainer.optim == "adamw_8bit"
    assert reasons(made)["trainer.optim"] == "adamw_8bit"


def test_a_gpu_of_the_recipe_that_this_machine_lacks_is_said() -> None:
    made = plan(compute={"executor": "local", "gpu": "H200"})
    assert made.compute.gpu_count == 0
    assert reasons(made)["compute.gpu"] == "none"


def test_the_gpu_of_this_machine_is_taken() -> None:
    machine = Machine(gpu_name="NVIDIA H200", gpu_count=2, gpu_memory_gb=141)
    made = build(recipe(compute={"executor": "local"}), facts(machine=machine), folders={})
    assert made.compute.gpu_count == 1


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"per_device_train_batch_size": 8}, 125),
        ({"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}, 32),
        ({"per_device_train_batch_size": 8, "num_train_epochs": 2.0}, 250),
        ({"packing": True, "max_length": 1000, "per_device_train_batch_size": 8}, 13),
        ({"max_steps": 7}, 7),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(trainer: dict[str, Any], steps: int) -> None:
    assert plan(trainer=trainer).total_steps == steps


def test_rows_a_step_stay_as_written() -> None:
    made = plan(trainer={"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2})
    assert (made.trainer.per_device_train_batch_size, made.trainer.gradient_accumulation_steps) == (4, 2)


def test_a_short_run_is_not_compiled() -> None:
    assert not plan(trainer={"max_steps": 20}).trainer.compile_layers
    assert plan(trainer={"max_steps": 2000}).trainer.compile_layers
