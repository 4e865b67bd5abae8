"""Several processes under torchrun, here on the CPU: one voice, one decision to stop."""

from pathlib import Path

import pytest

from sftrun.contract import stopping
from sftrun.contract.events import Started, Step, Stopped
from sftrun.contract.jobspec import JobSpec, LoraSpec
from sftrun.job.supervise import checkpoints
from tests.job import tiny
from tests.job.runs import Run, at_step, curve, held_at_step, record


@pytest.mark.slow
def test_two_processes_stop_together(model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(32))
    spec = tiny.make_job(tmp_path, model, data, gpu_count=2, trainer={"max_steps": 400, "logging_steps": 1})
    run = Run(spec, tmp_path)
    run.until(at_step(2))
    run.stop()
    code, last = run.rest()
    assert code == 4
    assert isinstance(last, Stopped)
    assert last.checkpoint is not None
    assert checkpoints.find(spec.checkpoints_dir, spec.run_id).step == last.step
    assert sorted(path.name for path in Path(last.checkpoint).glob("rng_state_*")) == [
        "rng_state_0.pth",
        "rng_state_1.pth",
    ]
    assert sorted(curve(record(spec))) == list(range(1, last.step + 1))
    assert len([event for event in run.events if isinstance(event, Started)]) == 1
    # 32 rows, 2 a process, 2 processes: 8 steps an epoch
    assert next(event.epoch for event in run.events if isinstance(event, Step) and event.step == 2) == 0.25


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(model: Path, tmp_path: Path) -> None:
    def spec(folder: Path, processes: int, accumulation: int) -> JobSpec:
        folder.mkdir(exist_ok=True)
        data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(40))
        trainer = {"max_steps": -1, "num_train_epochs": 2.0, "logging_steps": 1, "save_steps": 4}
        trainer |= {"gradient_accumulation_steps": accumulation}
        lora = LoraSpec(r=4, lora_alpha=8.0)  # dropout would draw for each process
        return tiny.make_job(folder, model, data, gpu_count=processes, trainer=trainer, lora=lora)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = Run(spec(whole, 1, 2), whole)
    two, one = spec(broken, 2, 1), spec(broken, 1, 2)
    first = Run(two, broken, held_at_step(6, two))
    first.until(at_step(6))
    first.kill_worker()
    assert first.rest()[0] == 3
    second = Run(one, broken, held_at_step(14, one))
    second.until(at_step(14))
    second.stop()
    assert second.rest()[0] == 4
    stopping.clear(one.record_dir)
    assert Run(two, broken).rest()[0] == 0
    assert unbroken.rest()[0] == 0
    expected, found = curve(record(spec(whole, 1, 2))), curve(record(two))
    assert list(expected) == list(range(1, 21))
    assert {step: (rate, tokens) for step, (_, rate, tokens) in found.items()} == {
        step: (rate, tokens) for step, (_, rate, tokens) in expected.items()
    }
    assert {step: loss for step, (loss, *_) in found.items()} == pytest.approx(
        {step: loss for step, (loss, *_) in expected.items()}, rel=2e-3
    )
