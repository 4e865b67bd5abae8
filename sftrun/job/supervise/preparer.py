"""The process that prepares a job's data (`job.prepare.preparing`), started and followed from outside it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable

from sftrun.contract.jobspec import JobSpec
from sftrun.disk import outside
from sftrun.job.failures import JobFailure
from sftrun.job.supervise.process import SUPERVISOR, base_environment, isolated

POLL_SECONDS = 0.05


def start(spec: JobSpec) -> "subprocess.Popen[bytes]":
    """The process that prepares a job's data."""
    own = {SUPERVISOR: str(os.getpid()), "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    command = isolated("sftrun.job.prepare.preparing")
    with tempfile.TemporaryFile() as order:
        order.write(spec.model_dump_json().encode())
        order.seek(0)
        return subprocess.Popen(command, stdin=order, stdout=subprocess.PIPE, env=base_environment(spec) | own)


def follow(process: "subprocess.Popen[bytes]", between: Callable[[], None] = lambda: None) -> None:
    """Until it has ended; raises its failure."""
    try:
        while process.poll() is None:
            between()
            time.sleep(POLL_SECONDS)
    finally:
        process.kill()
        said, _ = process.communicate()
    if process.returncode < 0:
        help = "run it again; if it is killed again, memory is short"
        raise JobFailure("killed", "the process that prepares the data was killed", help)
    if not said:
        raise JobFailure("error", "the process that prepares the data ended without a word", "see the log of the run")
    if told := outside.parse_object(said):
        raise JobFailure(**told)  # type: ignore[arg-type]
