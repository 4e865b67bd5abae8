"""One tracker's process: it follows the record, which is the truth, and tells the tracker what is new.

    python -m sftrun.job.track.tell JOB.json NAME

It ends when the supervisor has closed its end of stdin, or is gone, once all that stands in the record is told.  How
far it has come is kept beside the record, so that a new attempt's follower goes on where the last one stopped.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import EVENTS
from sftrun.disk import files, flock, outside
from sftrun.job.supervise.record import parse_line
from sftrun.job.track.points import Points
from sftrun.job.track.sinks import SINKS, Sink

LOOK_SECONDS = 0.5
ENDS = ("finished", "stopped", "failed")


def main(job_file: str, name: str) -> int:
    """Follow to the end; the exit code is 0 where all was told."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # what ends the supervisor ends its pipe
    spec = JobSpec.read(Path(job_file).read_bytes())
    kept = Path(spec.record_dir) / f"tracker-{name}.json"
    # another attempt's may have its last words to tell
    with flock.held(kept.with_suffix(".lock"), lambda who: time.sleep(LOOK_SECONDS)):
        sink, points = SINKS[name](spec), Points(spec)
        points.done = _most(sink.done(), {} if sink.begins_anew else _read(kept))
        sink.end(_follow(spec, sink, points, kept))
    return 0


def _follow(spec: JobSpec, sink: Sink, points: Points, kept: Path) -> str:
    status = "stopped"
    with (Path(spec.record_dir) / EVENTS).open("rb") as record:
        for line in _lines(record):
            event = parse_line(line)
            if event is None:
                continue
            status = event.kind if event.kind in ENDS else "stopped"
            for point in points.of(event):
                sink.put(point)
                files.write(kept, json.dumps(points.done), durable=False)
    return status


def _lines(record: IO[bytes]) -> Iterator[bytes]:
    """Whole lines as they come, until the supervisor is gone and nothing is left."""
    rest, is_over = b"", False
    while True:
        part = record.read()
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
        if not part:
            if is_over:
                return
            is_over = _is_left_alone()


def _is_left_alone() -> bool:
    """Whether nobody holds the other end of stdin; waits a moment for it."""
    ready, _, _ = select.select([sys.stdin], [], [], LOOK_SECONDS)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def _read(kept: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, outside.Damaged):
        return {kind: step for kind, step in outside.read_object(kept).items() if isinstance(step, int)}
    return {}


def _most(*told: dict[str, int]) -> dict[str, int]:
    return {kind: max(each.get(kind, -1) for each in told) for kind in ("step", "eval")}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
