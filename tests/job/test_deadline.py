"""A supervisor that is stopped counts no money: the worker has a deadline of its own."""

import os
import signal
import time
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from sftrun.contract.events import Stopped
from sftrun.contract.jobspec import MoneySpec
from sftrun.job.supervise import checkpoints
from tests.job import tiny
from tests.job.runs import Run, at_step

pytestmark = pytest.mark.slow


def test_a_worker_whose_supervisor_is_stopped_ends_before_the_money_does(model: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(24))
    money = MoneySpec(usd_per_second=Decimal(1), max_usd=Decimal(30), reserve_seconds=1.0)
    trainer = {"max_steps": 10_000_000, "logging_steps": 10, "save_steps": 10_000_000}
    spec = tiny.make_job(tmp_path, model, data, money=money, trainer=trainer)
    run = Run(spec, tmp_path)
    run.until(at_step(10))
    os.kill(run.process.pid, signal.SIGSTOP)
    worker = psutil.Process(run.worker_pid())
    while worker.status() != psutil.STATUS_ZOMBIE:  # its parent can't bury it
        time.sleep(0.1)
    saved = checkpoints.find(spec.checkpoints_dir, spec.run_id)
    os.kill(run.process.pid, signal.SIGCONT)
    code, last = run.rest()
    assert (code, isinstance(last, Stopped)) == (4, True)
    assert isinstance(last, Stopped)
    assert (last.reason, last.step) == ("budget", saved.step)
    assert last.checkpoint == str(saved.newest)
