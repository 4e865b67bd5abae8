"""A run broken five times, in five ways, against the same run unbroken: one curve, nothing lost."""

import time
from pathlib import Path

import pytest

from sftrun.contract import events, stopping
from sftrun.contract.events import Failed, Finished, Note, Stage, Started, Stopped
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, LoraSpec, QuantizationSpec, SampleSpec
from tests import patience
from tests.job import tiny
from tests.job.runs import Run, at_step, curve, held_at, held_at_step, record

pytestmark = pytest.mark.slow


def job(folder: Path, model: Path) -> JobSpec:
    """QLoRA with packing, dropout, two epochs, accumulation, evaluation, a mix: all that has a state to lose."""
    folder.mkdir()
    rows = tiny.make_rows(60)
    data = tiny.write_rows(folder / "rows.jsonl", rows[:40])
    more = tiny.write_rows(folder / "more.jsonl", rows[40:])
    sources = (DataSource(files=(str(data),), weight=0.5), DataSource(files=(str(more),), weight=2))
    trainer = {
        "max_steps": -1,
        "num_train_epochs": 2.0,
        "packing": True,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "eval_steps": 7,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "cosine",
    }
    return tiny.make_job(
        folder,
        model,
        data,
        dataset=DatasetSpec(train=sources, eval_fraction=0.1),
        quantization=QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32"),
        lora=LoraSpec(r=4, lora_alpha=8.0, lora_dropout=0.1, autocast_adapter_dtype=True),
        samples=SampleSpec(prompts=("Add 1 and 2.",), max_new_tokens=4, temperature=0.7),
        trainer=trainer,
    )


def test_a_run_broken_in_five_ways_has_the_curve_of_an_unbroken_one(model: Path, tmp_path: Path) -> None:
    whole, broken = job(tmp_path / "whole", model), job(tmp_path / "broken", model)
    unbroken = Run(whole, tmp_path / "whole")

    _stop(broken, tmp_path)
    _kill_worker(broken, tmp_path)
    _kill_supervisor_after_a_flipped_bit(broken, tmp_path)
    _kill_worker_when_all_steps_are_done(broken, tmp_path)
    _finish_after_a_torn_line(broken, tmp_path)

    code, last = unbroken.rest()
    assert (code, last.kind) == (0, "finished")
    expected, found = curve(record(whole)), curve(record(broken))
    assert len(expected) >= 10
    assert found == expected
    assert _evaluations(broken) == _evaluations(whole)
    ends = [next(event for event in record(spec) if isinstance(event, Finished)) for spec in (whole, broken)]
    assert ends[0].train_loss == ends[1].train_loss
    _same_adapter(whole, broken)
    assert _questions_to_base(broken) == 1
    _finish_again(whole, tmp_path)


def _stop(spec: JobSpec, folder: Path) -> None:
    run = Run(spec, folder, held_at_step(2, spec))
    run.until(at_step(2))
    run.stop()
    code, last = run.rest()
    assert code == 4
    assert isinstance(last, Stopped)
    assert (last.reason, last.checkpoint is not None) == ("user", True)
    assert Path(str(last.checkpoint)).name == f"checkpoint-{last.step}"
    stopping.clear(spec.record_dir)


def _kill_worker(spec: JobSpec, folder: Path) -> None:
    run = Run(spec, folder, held_at_step(8, spec))
    run.until(at_step(8))
    run.kill_worker()
    code, last = run.rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert (last.failure, last.stage) == ("killed", "train")
    assert "SIGKILL" in last.message


def _kill_supervisor_after_a_flipped_bit(spec: JobSpec, folder: Path) -> None:
    newest = max(Path(spec.checkpoints_dir).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    weights = newest / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    run = Run(spec, folder, held_at_step(10, spec))
    run.until(at_step(10))
    run.kill()
    assert any(isinstance(event, Note) and newest.name in event.message for event in run.events)
    assert next(event for event in run.events if isinstance(event, Started)).resumed_from is not None
    _wait_until_gone(run.worker_pid())


def _kill_worker_when_all_steps_are_done(spec: JobSpec, folder: Path) -> None:
    run = Run(spec, folder, held_at('"name":"samples_after"', spec))
    run.until(lambda event: isinstance(event, Stage) and event.name == "samples_after")
    run.kill_worker()
    code, last = run.rest()
    assert (code, last.kind) == (3, "failed")


def _finish_after_a_torn_line(spec: JobSpec, folder: Path) -> None:
    file = Path(spec.record_dir) / "events.jsonl"
    with file.open("ab") as out:
        out.write(b'{"seq":99,"at":17')
    run = Run(spec, folder)
    code, last = run.rest()
    assert (code, last.kind) == (0, "finished")
    assert isinstance(run.events[0], Note)
    assert "torn" in run.events[0].message
    found = record(spec)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert [event.attempt for event in found if isinstance(event, Started)] == [1, 2, 3, 4, 5]


def _finish_again(spec: JobSpec, folder: Path) -> None:
    code, last = Run(spec, folder).rest()
    assert (code, last.kind) == (0, "finished")
    assert not [event for event in record(spec)[-2:] if isinstance(event, Started)]


def _evaluations(spec: JobSpec) -> dict[int, float]:
    return {event.step: event.loss for event in record(spec) if isinstance(event, events.Evaluated)}


def _questions_to_base(spec: JobSpec) -> int:
    return sum(isinstance(event, events.Sample) and event.when == "before" for event in record(spec))


def _same_adapter(one: JobSpec, other: JobSpec) -> None:
    files = [Path(spec.output_dir) / "adapter_model.safetensors" for spec in (one, other)]
    assert files[0].read_bytes() == files[1].read_bytes()


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state in "ZX":
            return
        time.sleep(0.05)
    raise AssertionError(f"the worker {pid} outlived its supervisor")
