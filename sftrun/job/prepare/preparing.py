"""When and where data are prepared: at once, or in a process of its own while the model loads.

    python -m sftrun.job.prepare.preparing < JOB.json

The process says how it ended in a line on stdout: {} or a failure's {"kind", "message", "help"}.  A container without a
GPU runs the same one, before the container that costs.
"""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.stepplan import Place
from sftrun.job.failures import JobFailure, translate
from sftrun.job.supervise import preparer
from sftrun.job.supervise.process import guard
from sftrun.step import place as places

if TYPE_CHECKING:
    from sftrun.job.prepare.prepared import Prepared
    from sftrun.rows.tokenizer import Tokens

MOST_PROCESSES = 16
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Pending:
    """Data that are being prepared in another process; None: in one of another rank's."""

    place: Path
    process: "subprocess.Popen[bytes] | None"

    def wait(self, between: Callable[[], None]) -> "Prepared":
        """The data, once they stand.  Raises what the process met, or what `between` raises."""
        from sftrun.job.prepare import prepared

        if self.process is not None:
            preparer.follow(self.process, between)
        while (found := prepared.find(self.place, was_ready=False)) is None:
            if self.process is not None:
                raise JobFailure("data", f"the prepared data in {self.place} are gone again", "run it again")
            between()
            time.sleep(POLL_SECONDS)
        return found


def begin(spec: JobSpec, tokens: "Tokens", between: Callable[[], None]) -> "Prepared | Pending":
    """What stands, or what is soon made; or a process that has begun to make it."""
    from sftrun.job.prepare import prepared
    from sftrun.job.prepare.shards import Crew

    place = prepared.folder(spec, tokens)
    if (found := prepared.find(place)) is not None:
        return found
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return Pending(place, None)
    if whereabouts(spec) == "process":
        return Pending(place, preparer.start(spec))
    return prepared.make(spec, tokens, place, Crew(between=between))


def whereabouts(spec: JobSpec) -> Place:
    """Where rows are tokenised that do not stand ready: as ordered, but for a container that is no more."""
    wanted = spec.step.preparing
    return places.without_container(spec.trainer.library) if wanted == "container" else wanted


def main(text: bytes) -> dict[str, Any]:
    """Prepare, and tell how it went."""
    from sftrun.job.prepare import prepared, row_tokenizer
    from sftrun.job.prepare.shards import Crew

    spec = JobSpec.read(text)
    try:
        tokens = row_tokenizer.of_job(spec)
        place = prepared.folder(spec, tokens)
        if prepared.find(place) is None:
            prepared.make(spec, tokens, place, Crew(processes=spec.cpu_threads or _cores()))
    except Exception as error:
        failure = translate(error)
        if failure.kind == "error":
            import traceback

            traceback.print_exc()
        return {"kind": failure.kind, "message": failure.message, "help": failure.help}
    return {}


def _cores() -> int:
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(usable, MOST_PROCESSES)


if __name__ == "__main__":
    gc.disable()  # as in `worker`; and what is forked shares what nobody touches
    guard()
    with redirect_stdout(sys.stderr):  # libraries print what they like
        told = main(sys.stdin.buffer.read())
    print(json.dumps(told))  # noqa: T201
