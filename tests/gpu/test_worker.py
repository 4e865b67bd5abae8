"""On a GPU: a whole run by the fast path learns what the plain one learns, and goes on after a kill."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sftrun.contract.choices import Attention
from sftrun.contract.events import Finished, Note, Step
from sftrun.contract.jobspec import JobSpec, ModelSpec, QuantizationSpec
from sftrun.step.given import Machine, Model
from tests.job import tiny
from tests.job.runs import Run
from tests.job.test_fast_path import finish, job, steps

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

PLAIN: dict[str, Any] = {"bf16": True, "optim": "adamw_torch_fused"}


def on_gpu(
    folder: Path,
    attention: Attention,
    trainer: dict[str, Any],
    step: dict[str, Any] | None = None,
    gpus: int = 1,
    **changes: Any,
) -> JobSpec:
    model = tiny.make_model(folder.with_name(f"{folder.name}-model"))
    sections = {"model": ModelSpec(name_or_path=str(model)), "quantization": QuantizationSpec(load_in_4bit=True)}
    machine, shape = Machine(gpus, has_gpu=True), Model(vocab_size=tiny.VOCABULARY)
    made = {"machine": machine, "shape": shape, **(step or {})}
    return job(folder, model, attention, trainer, made, gpu_count=gpus, **(sections | changes))


def disobeyed(found: list[Any]) -> list[Any]:
    return [event for event in found if event.kind == "disobeyed"]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dequantize", [False, True])
@pytest.mark.parametrize("gpus", [1, 2])
def test_a_fast_run_learns_what_a_plain_one_learns(
    checkpointing: bool, dequantize: bool, gpus: int, tmp_path: Path
) -> None:
    if torch.cuda.device_count() < gpus:
        pytest.skip(f"needs {gpus} GPUs")
    # five packed sequences are no even share for two: accelerate would hand out some twice
    batch = PLAIN | {"per_device_train_batch_size": 12 // gpus, "packing": gpus == 1}
    fast = {"compiled": True, "dequantized": dequantize, "checkpointed": checkpointing}
    expected = finish(on_gpu(tmp_path / "plain", "sdpa", PLAIN), tmp_path / "plain")
    found = finish(on_gpu(tmp_path / "fast", "varlen", batch, fast, gpus), tmp_path / "fast")
    assert not disobeyed(found)
    for one, other in zip(steps(found), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.02)
        assert one.tokens == other.tokens
    assert any("compiled" in event.message for event in found if isinstance(event, Note))
    assert next(event.memory_gb for event in found if isinstance(event, Finished)) > 0


def test_a_fast_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    trainer = PLAIN | {"packing": True, "max_steps": 40, "per_device_train_batch_size": 1}
    fast = {"compiled": True, "dequantized": True}
    whole, broken = (on_gpu(tmp_path / name, "varlen", trainer, fast) for name in ("whole", "broken"))
    run = Run(broken, tmp_path / "broken")
    run.until(lambda event: isinstance(event, Step) and event.step >= 10)
    run.kill_worker()
    assert run.rest()[0] == 3
    expected, found = finish(whole, tmp_path / "whole"), finish(broken, tmp_path / "broken")
    curves = [{event.step: event.loss for event in steps(events)} for events in (found, expected)]
    assert curves[0] == pytest.approx(curves[1], rel=0.02)
    assert {event.step: event.tokens for event in steps(found)} == {e.step: e.tokens for e in steps(expected)}


@pytest.mark.parametrize(("packing", "size"), [(False, 4), (True, 12)])
def test_a_run_by_cuda_graphs_learns_what_a_plain_one_learns(packing: bool, size: int, tmp_path: Path) -> None:
    rows = PLAIN | {"per_device_train_batch_size": size, "max_steps": 18}
    fast = {"compiled": True, "dequantized": True, "cuda_graphs": True}
    expected = finish(on_gpu(tmp_path / "plain", "sdpa", rows), tmp_path / "plain")
    found = finish(on_gpu(tmp_path / "fast", "varlen", rows | {"packing": packing}, fast), tmp_path / "fast")
    assert not disobeyed(found)
    for one, other in zip(steps(found), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.03)
        assert one.tokens == other.tokens
    assert any("CUDA graphs" in event.message for event in found if isinstance(event, Note))


def test_a_run_in_float16_begins_as_one_in_bfloat16_and_ends(tmp_path: Path) -> None:
    """QLoRA's adapters are bfloat16 by TRL, which the loss scaler of float16 can't take."""
    plain = {"optim": "adamw_torch_fused", "max_steps": 6}
    expected = finish(on_gpu(tmp_path / "bfloat16", "sdpa", plain | {"bf16": True}), tmp_path / "bfloat16")
    model = ModelSpec(name_or_path=str(tmp_path / "float16-model"), dtype="float16")
    quantization = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float16")
    settings = plain | {"bf16": False, "fp16": True}
    half = on_gpu(tmp_path / "float16", "sdpa", settings, model=model, quantization=quantization)
    found = finish(half, tmp_path / "float16")
    assert not disobeyed(found)
    assert steps(found)[0].loss == pytest.approx(steps(expected)[0].loss, rel=0.02)
