"""The trackers of an attempt: a process each, which can fail or hang without harm to the run.

They read the record by themselves; all that they get from here is a pipe that is closed when the record is complete.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sftrun.contract.jobspec import JobSpec
from sftrun.job.supervise.process import isolated, python_path

LAST_SECONDS = 10.0  # for the last points, when the run is over and its machine still paid
TELLER = isolated("sftrun.job.track.tell")


@dataclass
class Trackers:
    """Those that the job reports to.  `close` ends them; `notes` tells once of each that has ended by itself."""

    folder: Path = Path()
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def start(cls, spec: JobSpec, job_file: Path) -> "Trackers":
        """A process for each."""
        made = cls(Path(spec.record_dir))
        for name in spec.trainer.report_to:
            with contextlib.suppress(OSError), made._log(name).open("ab") as output:
                made.running[name] = subprocess.Popen(
                    [*TELLER, str(job_file), name],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=_environment(),
                )
        return made

    def notes(self) -> Iterator[str]:
        """Of each that has failed since."""
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[name]
                yield f"{name} is told nothing more: {self._reason(name)}; the run goes on (`{self._log(name)}`)"

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Let them tell the rest; one that hangs is ended."""
        until = time.monotonic() + seconds
        for process in self.running.values():
            if process.stdin is not None:
                process.stdin.close()
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.0))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _reason(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it ended without a word"

    def _log(self, name: str) -> Path:
        return self.folder / f"tracker-{name}.log"


def _environment() -> dict[str, str]:
    """The user's own, without the GPUs, which are for the worker."""
    return {**os.environ, "PYTHONPATH": python_path(), "CUDA_VISIBLE_DEVICES": ""}
