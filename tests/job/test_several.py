"""Several processes under torchrun, here on the CPU: one voice, one decision to stop, one curve to go on with."""

from pathlib import Path

import pytest

from sftrun.contract.events import Finished, ModelReady, Started, Step, Stopped
from tests.job import tiny
from tests.job.runs import Run, at_step, curve, record


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(32))
    spec = tiny.make_job(tmp_path, model, data, gpu_count=2, trainer={"max_steps": 12, "logging_steps": 1})
    run = Run(spec, tmp_path)
    run.until(at_step(2))
    run.stop()
    code, last = run.rest()
    assert code == 4
    assert isinstance(last, Stopped)
    step = last.step

    code, last = Run(spec, tmp_path).rest()
    assert (code, last.kind) == (0, "finished")
    found = record(spec)
    assert next(event.resumed_from for event in reversed(found) if isinstance(event, Started)) == step
    assert sorted(curve(found)) == list(range(1, 13))
    assert len([event for event in found if isinstance(event, Step)]) == 12
    assert len([event for event in found if isinstance(event, Finished)]) == 1
    # 32 rows, 2 a process, 2 processes: 8 steps an epoch
    assert next(event.total_steps for event in found if isinstance(event, ModelReady)) == 12
    assert next(event.epoch for event in found if isinstance(event, Step) and event.step == 8) == 1.0
