"""CUDA graphs replay steps where a busy CPU would take longer to launch their kernels than they run."""

from typing import Any

import pytest

from sftrun.facts.values import DataFacts, ModelFacts
from sftrun.plan.build import build
from tests.plan.samples import facts, recipe
from tests.plan.shapes import narrower, phi3

LENGTHS = ((100, 1000),)


def is_captured(
    gpu: str = "H200", model: ModelFacts | None = None, lengths: tuple[tuple[int, int], ...] = LENGTHS, **trainer: Any
) -> bool:
    settings = {"max_steps": 1000, "max_length": 1024, "per_device_train_batch_size": 2, "packing": True}
    lora = {"r": 16, "lora_dropout": trainer.pop("lora_dropout", 0.0)}
    made = recipe(lora=lora, compute={"executor": "modal", "gpu": gpu}, trainer=settings | trainer)
    tokens = sum(length * count for length, count in lengths)
    data = DataFacts(source="counted", format="instruction", rows=1000, tokens=tokens, length_counts=lengths)
    return build(made, facts(model=model or phi3(), train=data), folders={}).step.cuda_graphs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"packing": False, "per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},  # both at once
    ],
)
def test_small_steps_are_captured(settings: dict[str, Any]) -> None:
    assert is_captured(**settings)


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
    assert not is_captured(**settings)


def test_more_rows_are_captured_where_a_narrow_model_computes_faster_than_it_launches() -> None:
    rows: dict[str, Any] = {"packing": False, "per_device_train_batch_size": 64, "lengths": ((20, 500), (180, 500))}
    assert is_captured(model=narrower(4), **rows)
    assert not is_captured(model=phi3(), **rows)


def test_so_are_rows_whose_launches_a_busy_cpu_would_make_the_longer_part() -> None:
    rows: dict[str, Any] = {"packing": False, "lengths": ((160, 500), (200, 500))}
    assert is_captured(per_device_train_batch_size=24, **rows)
    assert not is_captured(per_device_train_batch_size=48, **rows)
    wide: dict[str, Any] = {"packing": False, "lengths": ((50, 900), (950, 100)), "per_device_train_batch_size": 32}
    assert is_captured(**wide)
    assert not is_captured(max_steps=210, **wide)  # half a second a capture
    assert not is_captured(per_device_train_batch_size=24, optim="galore_adamw_layerwise", **rows)


def test_sums_of_too_many_sizes_are_not_captured() -> None:
    rows = {"packing": False, "per_device_train_batch_size": 64}
    assert is_captured(model=narrower(8), lengths=((505, 1000),), **rows)
    assert not is_captured(model=narrower(8), lengths=((10, 500), (1000, 500)), **rows)
