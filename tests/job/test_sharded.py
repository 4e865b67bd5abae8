"""Weights sharded over two processes (FSDP2), here on the CPU: what one process learns, writes and goes on from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sftrun.contract.events import Note, Sample
from sftrun.contract.jobspec import JobSpec, LoraSpec, QuantizationSpec, SampleSpec
from tests import steps as steps_planned
from tests.job import tiny
from tests.job.runs import Run, at_step, curve, held_at_step, record
from tests.job.test_fast_path import ROWS, finish, job, steps

pytestmark = pytest.mark.slow

SHARDED = r"weights are sharded over 2 processes \(FSDP2\): (\d+) of (\d+)"
KINDS: dict[str, dict[str, Any]] = {
    "an adapter on 4 bits": {"quantization": QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32")},
    "an adapter in 32 bits on 4": {
        "quantization": QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32"),
        "lora": LoraSpec(r=4, lora_alpha=8.0, autocast_adapter_dtype=True),
    },
    "an adapter and the head": {"lora": LoraSpec(r=4, lora_alpha=8.0, modules_to_save=("lm_head",))},
    "all weights": {"lora": None},
}


def on(processes: int, folder: Path, model: Path, trainer: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """The same rows a step, whatever the number of processes; their weights are sharded."""
    settings = {"per_device_train_batch_size": ROWS // processes, "per_device_eval_batch_size": 6 // processes}
    settings |= trainer or {}
    return job(folder, model, "sdpa", settings, {"sharded": processes > 1}, gpu_count=processes, **changes)


def untied(folder: Path) -> Path:
    """The tiny model with a head of its own, which nobody calls: the loss reads its weight."""
    made = tiny.make_model(folder)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    weights = load_file(made / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    return made


def saved(spec: JobSpec) -> dict[str, torch.Tensor]:
    (file,) = Path(spec.output_dir).glob("*.safetensors")
    return dict(load_file(file))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_a_share_each_teach_what_one_teaches(kind: str, tmp_path: Path) -> None:
    model = untied(tmp_path / "model")
    asked = SampleSpec(prompts=("Add 1 and 2.", "Hello"), max_new_tokens=6)
    # an evaluation leaves weights whole, which the next step and the best checkpoint must not be taken in by
    often = {"gradient_accumulation_steps": 2, "eval_steps": 1, "save_steps": 1, "load_best_model_at_end": True}
    one, two = (
        on(n, tmp_path / str(n), model, often | {"per_device_train_batch_size": 6 // n}, samples=asked, **KINDS[kind])
        for n in (1, 2)
    )
    expected, found = finish(one, tmp_path / "1"), finish(two, tmp_path / "2")
    notes = [event.message for event in found if isinstance(event, Note)]
    (counts,) = [match.groups() for note in notes if (match := re.fullmatch(SHARDED, note))]
    assert counts[0] == counts[1]
    for ours, theirs in zip(steps(found), steps(expected), strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-2)  # over 4 bits it is bfloat16
        assert ours.tokens == theirs.tokens
    evaluated = [[event.loss for event in events if event.kind == "eval"] for events in (found, expected)]
    assert len(evaluated[0]) == 3
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-4)
    answers = [[(e.when, e.text) for e in events if isinstance(e, Sample)] for events in (found, expected)]
    assert len(answers[0]) == 4
    assert answers[0] == answers[1]
    weights, same = saved(two), saved(one)
    assert {n: (w.shape, w.dtype) for n, w in weights.items()} == {n: (w.shape, w.dtype) for n, w in same.items()}
    for name, weight in weights.items():
        assert float((weight - same[name]).norm() / same[name].norm().clamp(min=1)) < 0.02, name


def test_a_run_goes_on_sharded_or_not_with_the_same_curve(model: Path, tmp_path: Path) -> None:
    long = {"max_steps": 12, "save_steps": 2}
    half, quarter = long | {"per_device_train_batch_size": 2}, long | {"per_device_train_batch_size": 4}
    whole = on(1, tmp_path / "whole", model, quarter)
    two = on(2, tmp_path / "broken", model, half)
    alone = steps_planned.changed(two, {"gpu_count": 1, "trainer": two.trainer.model_copy(update=quarter)})
    for spec, step in ((two, 3), (two, 6), (alone, 9)):
        run = Run(spec, tmp_path / "broken", held_at_step(step, spec))
        run.until(at_step(step))
        run.kill_worker()
        assert run.rest()[0] == 3
    expected, found = curve(finish(whole, tmp_path / "whole")), curve(finish(two, tmp_path / "broken"))
    begun = [event.resumed_from for event in record(two) if event.kind == "started"]
    assert begun[0] is None
    assert all(begun[1:])
    assert {step: tokens for step, (_, _, tokens) in found.items()} == {s: t for s, (_, _, t) in expected.items()}
    for step, (loss, rate, _) in found.items():
        assert (loss, rate) == pytest.approx(expected[step][:2], rel=1e-4), step
    for name, weight in saved(two).items():
        torch.testing.assert_close(weight, saved(whole)[name], rtol=1e-3, atol=1e-5)
