"""A worker that lives and does nothing is ended, and says where it hung.  Real workers, a clock of the test's own."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from sftrun.contract.events import AnyEvent, Failed, Started, Step
from sftrun.job.supervise import checkpoints, death
from sftrun.run.modal.container.functions import verdict
from tests.job import tiny
from tests.job.clocked import Clock, attempt
from tests.job.runs import held_at_step

TWO_HOURS_IN_TWO_SECONDS = 4000.0


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_and_the_next_one_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "rows.jsonl"
    os.mkfifo(data)
    spec = tiny.make_job(tmp_path, model, data, trainer={"save_steps": 2, "logging_steps": 1, "max_steps": 100})

    clock = Clock(TWO_HOURS_IN_TWO_SECONDS)
    threading.Thread(target=_hold_open, args=(data, clock), daemon=True).start()
    with monkeypatch.context() as patient:
        patient.setattr(death, "ANSWER_SECONDS", 30.0)
        seen = attempt(spec, clock, lambda event: None)
    last = seen[-1]
    assert isinstance(last, Failed)
    assert (last.failure, last.stage) == ("stalled", "data")
    assert re.search(r"no sign of life for \d{3,} min", last.message), last.message
    assert last.tail[0].startswith("where the worker stood")
    assert "source_rows.py" in "".join(last.tail[-3:]), last.tail
    assert verdict(seen) == "again"

    data.unlink()
    tiny.write_rows(data, tiny.make_rows(24))
    clock = Clock(TWO_HOURS_IN_TWO_SECONDS)
    pids: list[int] = []

    def stop_it(event: AnyEvent) -> None:
        if isinstance(event, Started):
            pids.append(event.pid)
        if isinstance(event, Step) and event.step == 5:
            os.kill(pids[0], signal.SIGSTOP)
            clock.begin()

    with monkeypatch.context() as holding:
        for name, value in held_at_step(5, spec).items():
            holding.setenv(name, value)
        last = attempt(spec, clock, stop_it)[-1]
    assert isinstance(last, Failed)
    assert (last.failure, last.stage) == ("stalled", "train")
    found = checkpoints.find(spec.checkpoints_dir, spec.run_id)
    assert found.step >= 4

    seen = attempt(spec, Clock(1.0), lambda event: None)
    assert next(event.resumed_from for event in seen if isinstance(event, Started)) == found.step
    assert seen[-1].kind == "finished"


def _hold_open(fifo: Path, clock: Clock) -> None:
    """Once somebody reads the pipe, hold it open, write nothing, and let time fly."""
    while True:
        try:
            os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.02)
        else:
            return clock.begin()
