"""Workers forked from a process that has the libraries loaded: the worker as it is, without six seconds of imports.

Only what starts the worker is another: `os.fork` for a new interpreter.  Session, pipe, log, signals, exit are real.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import LOG
from sftrun.job.supervise import process
from sftrun.job.supervise.process import Worker
from sftrun.job.train import worker

torch.set_num_threads(1)


class Forked:
    """What the supervisor asks of a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.005)
        return code


def _start(spec: JobSpec, job_file: Path, held: int) -> Worker:
    log = Path(spec.record_dir) / LOG
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begin = os.fstat(output).st_size
    reading, writing = os.pipe()
    env = process.environment(spec, writing)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.close(reading)
        os.set_inheritable(writing, True)
        os.environ.update(env)
        process.guard()
        worker.leave(worker.main(str(job_file)), spec_reports=False)
    os.close(writing)
    os.close(output)
    done: Any = Forked(pid)
    return Worker(done, reading, log, begin)


process.start = _start
