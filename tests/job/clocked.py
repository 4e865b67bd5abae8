"""A supervisor in this process, with a clock of the test's own; its worker is as real as ever."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from sftrun.contract import events, stopping
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import JobSpec
from sftrun.job.supervise.entry import take_lock
from sftrun.job.supervise.record import Record
from sftrun.job.supervise.supervisor import Supervisor


class Clock:
    """Stands still until it is begun, then runs `factor` times as fast: the machine's load moves no moment."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.began: float | None = None

    def __call__(self) -> float:
        return 0.0 if self.began is None else self.factor * (time.monotonic() - self.began)

    def begin(self) -> None:
        self.began = self.began or time.monotonic()


def attempt(spec: JobSpec, clock: Clock, heard: Callable[[AnyEvent], None]) -> list[AnyEvent]:
    """One attempt to its end; its events, each of which `heard` gets as it comes."""
    seen: list[AnyEvent] = []

    def emit(line: str) -> None:
        seen.append(events.parse(line))
        heard(seen[-1])

    folder = Path(spec.record_dir)
    folder.mkdir(parents=True, exist_ok=True)
    stopping.clear(folder)
    held, record = take_lock(folder), Record(folder / "events.jsonl")
    try:
        Supervisor(spec, record, held, emit, lambda: None, "user", clock=clock).run()
    finally:
        record.close()
        os.close(held)
    return seen
