"""A machine that is not the first of several: its share of the processes, and no word but of how they failed.

The first one supervises, keeps the record and says what happens; nothing that is written here is kept.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from sftrun.contract.events import AnyEvent, Failed, Finished, Stopped
from sftrun.contract.jobspec import JobSpec
from sftrun.job.supervise import death, process
from sftrun.job.supervise.process import Worker
from sftrun.job.supervise.record import parse_line

TICK_SECONDS = 1.0
TOGETHER = (0, 4)  # ends that all machines come to at once: finished, stopped


def attend(spec: JobSpec, is_over: Callable[[], bool], taken: Callable[[], None] = lambda: None) -> Failed | None:
    """Run this machine's processes until they end, or until the first machine says that it is over.

    `taken` is called when this machine is asked to go (SIGINT, SIGTERM): the first one is to stop all of them together.
    Returns how they failed, where they did so by themselves.
    """
    with tempfile.TemporaryDirectory() as folder, _signals() as signalled:
        spec = spec.model_copy(update={"record_dir": folder})
        job_file = Path(folder) / "job.json"
        job_file.write_text(spec.model_dump_json())
        worker = process.start(spec, job_file, None)
        try:
            _watch(worker, signalled, is_over, taken)
            return None if worker.process.returncode is None else _failure(spec, worker)
        finally:
            worker.kill()
            worker.process.wait()
            os.close(worker.events)


def _watch(worker: Worker, signalled: threading.Event, is_over: Callable[[], bool], taken: Callable[[], None]) -> None:
    has_told = False
    while not is_over():
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(TICK_SECONDS)
            return
        if signalled.is_set() and not has_told:
            with contextlib.suppress(Exception):  # nobody heard it: said again at the next tick
                taken()
                has_told = True


def _failure(spec: JobSpec, worker: Worker) -> Failed | None:
    """What a process said itself; where one was killed, the others only say that they have lost it.

    One that came to its end and was aborted as it left has not failed.
    """
    code = worker.process.returncode
    said = _said(worker)
    failures = [event for event in said if isinstance(event, Failed)]
    if code in TOGETHER or (not failures and any(isinstance(event, Finished | Stopped) for event in said)):
        return None
    tail = death.read_tail(worker.log, worker.log_begin)
    tells_most = min(failures, key=lambda event: event.failure == "error", default=None) if code > 0 else None
    failed = tells_most or death.explain(code, "train", tail, death.count_oom_kills(), spec.gpu_count)
    assert spec.cluster is not None
    message = f"machine {spec.cluster.rank + 1} of {spec.nodes}: {failed.message}"
    return failed.model_copy(update={"message": message, "tail": tail})


def _said(worker: Worker) -> list[AnyEvent]:
    """All that is in the pipe, where nothing else goes down than last words."""
    os.set_blocking(worker.events, False)
    with contextlib.suppress(BlockingIOError):
        lines = os.read(worker.events, 1 << 16).splitlines()
        return [event for line in lines if (event := parse_line(line)) is not None]
    return []


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set at a SIGINT or SIGTERM; only a main thread may ask for them."""
    signalled = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        signalled.set()

    if threading.current_thread() is not threading.main_thread():
        yield signalled
        return
    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield signalled
    finally:
        for number, handler in before:
            signal.signal(number, handler)
