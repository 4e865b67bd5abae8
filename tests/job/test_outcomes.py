"""What each method reaches by the defaults on the small model that ships: weights moved, loss of other rows."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from sftrun import builtin
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec
from sftrun.plan.build import build
from tests import steps
from tests.job import tiny
from tests.job.runs import Run
from tests.plan.samples import facts, recipe

pytestmark = pytest.mark.slow
NAME = "builtin:tiny"
ROWS = tiny.make_rows(240)
TRAINER = {"max_steps": 40, "eval_steps": 20, "per_device_train_batch_size": 8, "save_steps": 100}


class Outcome(NamedTuple):
    spec: JobSpec
    loss: float  # of rows that were not trained on

    @property
    def moved(self) -> float:
        """The share of the base's weights that are other ones now."""
        before = load_file(Path(builtin.path(NAME), "model.safetensors"))
        after = load_file(Path(self.spec.output_dir, "model.safetensors"))
        changed = sum(int((before[name].to(found.dtype) != found).sum()) for name, found in after.items())
        return changed / sum(found.numel() for found in after.values())


def outcome(folder: Path, **sections: Any) -> Outcome:
    """Of a recipe with these sections, on this machine without a GPU, after 40 steps."""
    here = {"model": {"name_or_path": NAME}, "compute": {"executor": "local"}, "trainer": TRAINER}
    plan = build(recipe(**here | sections), facts(), folders={})
    train, held = (tiny.write_rows(folder / f"{name}.jsonl", rows) for name, rows in halves())
    data = DatasetSpec(train=(DataSource(files=(str(train),)),), eval={"": DataSource(files=(str(held),))})
    made = tiny.make_job(folder, Path(builtin.path(NAME)), train, trainer=TRAINER | rate(plan.trainer.learning_rate))
    said = {"model": plan.model, "quantization": plan.quantization, "lora": plan.lora, "dataset": data}
    spec = steps.changed(made, said)
    assert Run(spec, folder).rest()[1].kind == "finished"
    events = [json.loads(line) for line in Path(spec.record_dir, "events.jsonl").read_text().splitlines()]
    return Outcome(spec, [event["loss"] for event in events if event["kind"] == "eval"][-1])


def rate(learning_rate: float) -> dict[str, Any]:
    return {"learning_rate": learning_rate}


def halves() -> tuple[tuple[str, list[dict[str, str]]], ...]:
    return ("train", ROWS[:200]), ("held", ROWS[200:])


def test_weights_that_are_all_trained_move_and_learn_where_rounded_ones_do_neither(tmp_path: Path) -> None:
    (tmp_path / "wide").mkdir()
    (tmp_path / "narrow").mkdir()
    wide = outcome(tmp_path / "wide", lora=None)
    narrow = outcome(tmp_path / "narrow", lora=None, model={"name_or_path": NAME, "dtype": "bfloat16"})
    assert wide.moved > 0.99
    assert wide.loss < 7.5
    assert narrow.moved < 0.1
    assert narrow.loss > wide.loss + 1.5


@pytest.mark.parametrize("quantization", [None, {"load_in_4bit": True}])
def test_adapters_move_and_learn(quantization: dict[str, bool] | None, tmp_path: Path) -> None:
    found = outcome(tmp_path, lora={}, quantization=quantization)
    assert found.loss < 9.0
    weights = load_file(Path(found.spec.output_dir, "adapter_model.safetensors"))
    second = [weight for name, weight in weights.items() if "lora_B" in name]
    assert second
    assert all(bool(torch.count_nonzero(weight) > 0.99 * weight.numel()) for weight in second)
