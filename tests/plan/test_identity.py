"""What decides the result decides the identity, and nothing else does."""

from typing import Any

import pytest

from sftrun.facts.values import Facts
from sftrun.plan.build import build
from sftrun.rows.find import Files
from tests.plan.samples import facts, recipe


def identity(given: Facts | None = None, **sections: Any) -> str:
    return build(recipe(**sections), given or facts(), folders={}).identity


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "other"},
        {"description": "words"},
        {"tags": {"team": "a"}},
        {"secrets": ("huggingface",)},
        {"compute": {"executor": "modal", "gpu": "H200", "timeout": "1h", "cpu": 8.0, "retries": 1}},
        {"compute": {"executor": "modal", "gpu": "T4"}},
        {"dataset": {"train": {"path": "train.jsonl", "num_examples": 5, "mean_tokens": 9.0}}},
        {"trainer": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}},
        {"trainer": {"per_device_train_batch_size": 4}, "compute": {"executor": "modal", "gpu": "H200:2"}},
    ],
)
def test_what_concerns_the_outside_leaves_it_alone(sections: dict[str, Any]) -> None:
    assert identity(**sections) == identity()


@pytest.mark.parametrize(
    "sections",
    [
        {"lora": {"r": 8}},
        {"lora": None},
        {"trainer": {"seed": 1}},
        {"trainer": {"max_length": 9}},
        {"trainer": {"per_device_train_batch_size": 4}},
        {"model": {"name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"}},
        {"output": {"dir": "/out/other"}},
        {"compute": {"executor": "local"}},
        {"compute": {"executor": "modal", "gpu": "H200:2"}},
        {"samples": {"prompts": ("hello",)}},
    ],
)
def test_what_decides_the_result_changes_it(sections: dict[str, Any]) -> None:
    assert identity(**sections) != identity()


def test_the_data_is_known_by_its_content_not_by_its_place() -> None:
    moved = facts(train_files=Files(paths=("/elsewhere.jsonl",), sha256="aa"))
    changed = facts(train_files=Files(paths=("/r/train.jsonl",), sha256="bb"))
    assert identity(moved) == identity()
    assert identity(changed) != identity()


def test_other_packages_make_another_run() -> None:
    assert identity(facts(lock={"trl": "1.16.0"})) != identity()
