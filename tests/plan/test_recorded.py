"""Steps are recorded as CUDA graphs where launching their kernels would take longer than running them."""

from typing import Any

import pytest

from sftrun.plan.build import build
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3


def is_recorded(gpu: str = "H200", **trainer: Any) -> bool:
    settings = {"max_steps": 1000, "max_length": 1024, "per_device_train_batch_size": 2, "packing": True}
    lora = {"r": 16, "lora_dropout": trainer.pop("lora_dropout", 0.0)}
    made = recipe(lora=lora, compute={"executor": "modal", "gpu": gpu}, trainer=settings | trainer)
    return build(made, facts(model=phi3()), folders={}).trainer.record_graphs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"packing": False, "per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},  # both at once
    ],
)
def test_small_steps_are_recorded(settings: dict[str, Any]) -> None:
    assert is_recorded(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"per_device_train_batch_size": 16},  # the GPU has enough to do
        {"packing": False, "per_device_train_batch_size": 64},  # of many sizes
        {"gradient_checkpointing": True},
        {"lora_dropout": 0.1},
        {"gpu": "H200:2"},
        {"max_steps": 100},
    ],
)
def test_others_are_not(settings: dict[str, Any]) -> None:
    assert not is_recorded(**settings)
