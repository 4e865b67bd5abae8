"""On a GPU: a whole run by the fast path learns what the plain one learns, and goes on after a kill."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sftrun.contract.events import Finished, Note, Step
from sftrun.contract.jobspec import JobSpec, QuantizationSpec
from tests.job import tiny
from tests.job.runs import Run
from tests.job.test_fast_path import finish, job, steps

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

FAST: dict[str, Any] = {"bf16": True, "optim": "adamw_torch_fused", "compile_layers": True}


def on_gpu(folder: Path, attention: str, trainer: dict[str, Any], gpus: int = 1) -> JobSpec:
    model = tiny.make_model(folder.with_name(f"{folder.name}-model"))
    made = job(folder, model, attention, trainer, gpu_count=gpus, quantization=QuantizationSpec(load_in_4bit=True))
    return made.model_copy(update={"model": made.model.model_copy(update={"dtype": "bfloat16"})})


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dequantize", [False, True])
@pytest.mark.parametrize("gpus", [1, 2])
def test_a_fast_run_learns_what_a_plain_one_learns(
    checkpointing: bool, dequantize: bool, gpus: int, tmp_path: Path
) -> None:
    if torch.cuda.device_count() < gpus:
        pytest.skip(f"needs {gpus} GPUs")
    plain = {"bf16": True, "optim": "adamw_torch_fused"}
    # five packed sequences are no even share for two: accelerate would hand out some twice
    batch = {"per_device_train_batch_size": 12 // gpus, "packing": gpus == 1, "padding_free": gpus > 1}
    fast = FAST | batch | {"dequantize": dequantize, "gradient_checkpointing": checkpointing}
    expected = finish(on_gpu(tmp_path / "plain", "sdpa", plain), tmp_path / "plain")
    found = finish(on_gpu(tmp_path / "fast", "varlen", fast, gpus), tmp_path / "fast")
    for one, other in zip(steps(found), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.02)
        assert one.tokens == other.tokens
    assert any("compiled" in event.message for event in found if isinstance(event, Note))
    assert next(event.memory_gb for event in found if isinstance(event, Finished)) > 0


def test_a_fast_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    trainer = FAST | {"packing": True, "dequantize": True, "max_steps": 40, "per_device_train_batch_size": 1}
    whole, broken = (on_gpu(tmp_path / name, "varlen", trainer) for name in ("whole", "broken"))
    run = Run(broken, tmp_path / "broken")
    run.until(lambda event: isinstance(event, Step) and event.step >= 10)
    run.kill_worker()
    assert run.rest()[0] == 3
    expected, found = finish(whole, tmp_path / "whole"), finish(broken, tmp_path / "broken")
    curves = [{event.step: event.loss for event in steps(events)} for events in (found, expected)]
    assert curves[0] == pytest.approx(curves[1], rel=0.02)
    assert {event.step: event.tokens for event in steps(found)} == {e.step: e.tokens for e in steps(expected)}


@pytest.mark.parametrize(("layout", "size"), [("padding_free", 4), ("packing", 12)])
def test_a_recorded_run_learns_what_a_plain_one_learns(layout: str, size: int, tmp_path: Path) -> None:
    rows = {"per_device_train_batch_size": size, "max_steps": 18, "bf16": True, "optim": "adamw_torch_fused"}
    fast = FAST | rows | {layout: True, "dequantize": True, "cuda_graphs": True}
    expected = finish(on_gpu(tmp_path / "plain", "sdpa", rows), tmp_path / "plain")
    found = finish(on_gpu(tmp_path / "fast", "varlen", fast), tmp_path / "fast")
    for one, other in zip(steps(found), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.03)
        assert one.tokens == other.tokens
    assert any("CUDA graphs" in event.message for event in found if isinstance(event, Note))


def test_a_run_in_float16_begins_as_one_in_bfloat16_and_ends(tmp_path: Path) -> None:
    """QLoRA's adapters are bfloat16 by TRL, which the loss scaler of float16 can't take."""
    plain = {"optim": "adamw_torch_fused", "max_steps": 6}
    expected = finish(on_gpu(tmp_path / "bfloat16", "sdpa", plain | {"bf16": True}), tmp_path / "bfloat16")
    half = on_gpu(tmp_path / "float16", "sdpa", plain | {"bf16": False, "fp16": True})
    quantization = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float16")
    model = half.model.model_copy(update={"dtype": "float16"})
    found = finish(half.model_copy(update={"model": model, "quantization": quantization}), tmp_path / "float16")
    assert steps(found)[0].loss == pytest.approx(steps(expected)[0].loss, rel=0.02)
