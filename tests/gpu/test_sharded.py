"""On two GPUs: weights sharded by FSDP2 learn what they learn on one, need less of each, and go on after a kill."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sftrun.contract.events import Finished, Note, Sample
from sftrun.contract.jobspec import JobSpec, ModelSpec, QuantizationSpec, SampleSpec
from sftrun.contract.question import Question
from sftrun.job.train import loading, samples
from sftrun.job.train.answer import Answerer
from sftrun.step.given import Machine, Model
from tests.job import tiny
from tests.job.runs import Run, at_step, curve
from tests.job.test_fast_path import ROWS, finish, job, steps
from tests.job.test_sharded import SHARDED, saved, untied

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")]

KINDS: dict[str, dict[str, Any]] = {
    "an adapter": {},
    "an adapter on 4 bits": {"quantization": QuantizationSpec(load_in_4bit=True)},
    "all weights": {"lora": None},
}
ASKED = SampleSpec(prompts=("Add 1 and 2.", "Hello"), max_new_tokens=6)


def on_gpus(
    gpus: int,
    folder: Path,
    model: Path,
    trainer: dict[str, Any] | None = None,
    step: dict[str, Any] | None = None,
    **changes: Any,
) -> JobSpec:
    settings = {"per_device_train_batch_size": ROWS // gpus, "per_device_eval_batch_size": 6 // gpus}
    settings |= {"bf16": True, "optim": "adamw_torch_fused"} | (trainer or {})
    machine, shape = Machine(gpus, has_gpu=True), Model(vocab_size=tiny.VOCABULARY)
    made = {"sharded": gpus > 1, "machine": machine, "shape": shape, **(step or {})}
    changes["model"] = ModelSpec(name_or_path=str(model))
    return job(folder, model, "varlen", settings, made, gpu_count=gpus, **changes)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_two_gpus_with_a_share_each_teach_what_one_teaches(kind: str, checkpointing: bool, tmp_path: Path) -> None:
    loading = untied(tmp_path / "model")
    again = {"checkpointed": checkpointing}
    one, two = (on_gpus(n, tmp_path / str(n), loading, None, again, samples=ASKED, **KINDS[kind]) for n in (1, 2))
    expected, found = finish(one, tmp_path / "1"), finish(two, tmp_path / "2")
    assert not [event for event in found if event.kind == "disobeyed"]
    assert any(re.fullmatch(SHARDED, event.message) for event in found if isinstance(event, Note))
    for ours, theirs in zip(steps(found), steps(expected), strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=0.02)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=0.1)
        assert ours.tokens == theirs.tokens
    assert len([event for event in found if isinstance(event, Sample)]) == 4
    assert next(event.memory_gb for event in found if isinstance(event, Finished)) > 0
    weights, same = saved(two), saved(one)
    assert {n: (w.shape, w.dtype) for n, w in weights.items()} == {n: (w.shape, w.dtype) for n, w in same.items()}


@pytest.mark.parametrize("kind", ["an adapter", "all weights"])
def test_a_sharded_run_answers_over_the_gpus_that_hold_its_weights_together(kind: str, tmp_path: Path) -> None:
    made = untied(tmp_path / "model")
    spec = on_gpus(2, tmp_path / "run", made, {"learning_rate": 1e-4}, **KINDS[kind])
    finish(spec, tmp_path / "run")
    size = (made / "model.safetensors").stat().st_size
    room: dict[int | str, int] = {0: size // 3, 1: size}
    whole, base = (loading.load_model(spec.model, None, spec.step, is_whole=True, room=each) for each in (None, room))
    assert {0, 1} <= set(base.hf_device_map.values())
    tokenizer = loading.auto_tokenizer(spec.model)
    found, expected = (
        list(samples.generate(one, tokenizer, ASKED.prompts, [2], max_new_tokens=ASKED.max_new_tokens))
        for one in (base, whole)
    )
    assert found == expected
    answerer = Answerer(spec)
    assert all(isinstance(answer, str) for answer in answerer.ask(Question(prompt="Hello"), 4, 0.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_sharded_or_not(kind: str, tmp_path: Path) -> None:
    loading = tiny.make_model(tmp_path / "model")
    long = {"max_steps": 24, "save_steps": 2}
    whole = on_gpus(1, tmp_path / "whole", loading, long | {"per_device_train_batch_size": 4}, **KINDS[kind])
    two = on_gpus(2, tmp_path / "broken", loading, long | {"per_device_train_batch_size": 2}, **KINDS[kind])
    alone = two.model_copy(update={"gpu_count": 1, "trainer": whole.trainer, "step": whole.step})
    for spec, step in ((two, 6), (alone, 12)):
        run = Run(spec, tmp_path / "broken")
        run.until(at_step(step))
        run.kill_worker()
        assert run.rest()[0] == 3
    expected, found = curve(finish(whole, tmp_path / "whole")), curve(finish(two, tmp_path / "broken"))
    assert {step: loss for step, (loss, *_) in found.items()} == pytest.approx(
        {step: loss for step, (loss, *_) in expected.items()}, rel=0.03
    )
    assert {step: tokens for step, (_, _, tokens) in found.items()} == {s: t for s, (_, _, t) in expected.items()}
