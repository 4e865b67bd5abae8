"""Several processes under torchrun, here on the CPU: one voice, one decision to stop."""

from pathlib import Path

import pytest

from sftrun.contract.events import Started, Step, Stopped
from sftrun.job import checkpoints
from tests.job import tiny
from tests.job.runs import Run, at_step, curve, record


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
