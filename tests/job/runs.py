"""The supervisor as a process, as an executor would start it, and its events as they come."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sftrun.contract import events, stopping
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import STOP
from sftrun.job.supervise.process import EVENTS
from tests import patience
from tests.warm.forks import HAS_GPU
from tests.warm.start import Warm

HOLDING = f"""
import os, time

write = os.write

def held(descriptor, data):
    written = write(descriptor, data)
    while word in bytes(data) and not os.path.exists(os.environ["HELD_UNTIL"]):
        time.sleep(0.01)
    return written

if "{EVENTS}" in os.environ:
    word = os.environ["HELD_AT"].encode()
    os.write = held
"""


class Run:
    """One attempt.  Iterate with `until`; `rest` waits for the end.  `is_cold`: a start with all of its imports."""

    def __init__(
        self, spec: JobSpec, folder: Path, env: dict[str, str] | None = None, *, is_cold: bool = False
    ) -> None:
        self.spec = spec
        folder.mkdir(parents=True, exist_ok=True)
        job = folder / f"{spec.run_id}.json"
        job.write_text(spec.model_dump_json())
        start = subprocess.Popen if is_cold else Warm
        self.process = start(
            [sys.executable, "-m", "sftrun.job.supervise.entry", str(job)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=as_here(spec) | os.environ | (env or {}),
            text=True,
        )
        self.events: list[AnyEvent] = []

    def until(self, wanted: Callable[[AnyEvent], bool]) -> AnyEvent:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(events.parse(line))
            if wanted(self.events[-1]):
                return self.events[-1]
        raise AssertionError(
            f"it ended before that: {self.events[-1:]} {self.process.stderr and self.process.stderr.read()}"
        )

    def rest(self) -> tuple[int, AnyEvent]:
        out, err = self.process.communicate(timeout=patience.SECONDS)
        self.events += [events.parse(line) for line in out.splitlines()]
        assert not err, err
        return self.process.returncode, self.events[-1]

    def worker_pid(self) -> int:
        return next(event.pid for event in self.events if isinstance(event, events.Started))

    def stop(self) -> None:
        stopping.request(self.spec.record_dir, "user")

    def kill_worker(self) -> None:
        os.kill(self.worker_pid(), signal.SIGKILL)

    def kill(self) -> None:
        """The supervisor itself, without warning."""
        self.process.kill()
        self.process.communicate()


def as_here(spec: JobSpec) -> dict[str, str]:
    """The env of a job that asks for GPUs where there are none: without torch's compiler, as one that asks for none."""
    return {} if HAS_GPU or spec.step.compiled else {"TORCHDYNAMO_DISABLE": "1"}


def held_at(word: str, spec: JobSpec) -> dict[str, str]:
    """The env of a run whose worker, once it has said an event with this in it, waits for a stop or its death."""
    folder = Path(spec.record_dir).parent / "held"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOLDING)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "HELD_AT": word, "HELD_UNTIL": str(Path(spec.record_dir) / STOP)}


def held_at_step(step: int, spec: JobSpec) -> dict[str, str]:
    return held_at(f'"step":{step},', spec)


def at_step(step: int) -> Callable[[AnyEvent], bool]:
    return lambda event: isinstance(event, events.Step) and event.step >= step


def record(spec: JobSpec) -> list[AnyEvent]:
    lines = (Path(spec.record_dir) / "events.jsonl").read_bytes().splitlines()
    return [events.parse(line) for line in lines]


def curve(found: list[AnyEvent]) -> dict[int, tuple[float, float, int]]:
    """Step -> (loss, learning rate, tokens), the last word of each step."""
    return {
        event.step: (event.loss, event.learning_rate, event.tokens) for event in found if isinstance(event, events.Step)
    }


def worker_below(pid: int) -> int:
    """A process of the job among the descendants of `pid`."""
    parents = {int(path.name): parent for path in Path("/proc").glob("[0-9]*") if (parent := _parent(path))}
    return next(child for child in parents if pid in _ancestors(child, parents) and _works(child))


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while pid in parents:
        pid = parents[pid]
        found.add(pid)
    return found


def _works(pid: int) -> bool:
    """A forked one has its module's name and the command line of the process that it is a fork of."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    is_named = Path(f"/proc/{pid}/comm").read_text().strip() == "worker"
    return is_named or (b"sftrun.job.train.worker" in words and b"sftrun.job.supervise.launch" not in words)


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0
