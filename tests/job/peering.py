"""The second machine of a job: what its container runs, with nobody who says that it is over.

    python -m tests.job.peering JOB.json

TAKEN=1: it is to be taken away, and where it tells so nobody answers the first time.
"""

import os
import sys
from pathlib import Path

from sftrun.contract import events
from sftrun.contract.jobspec import JobSpec
from sftrun.job.supervise.peer import attend


def attend_to_the_end(spec: JobSpec) -> None:
    failed = attend(spec, lambda: False)
    sys.stdout.write(events.dump(failed) if failed else "")


def be_taken_away(spec: JobSpec) -> None:
    tries: list[int] = []

    def is_over() -> bool:
        sys.stdout.write("watching\n")
        sys.stdout.flush()
        return len(tries) > 1

    def taken() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("nobody answers")

    sys.stdout.write(f"{attend(spec, is_over, taken)} {len(tries)}\n")


if __name__ == "__main__":
    job = JobSpec.read(Path(sys.argv[1]).read_bytes())
    be_taken_away(job) if os.environ.get("TAKEN") else attend_to_the_end(job)
