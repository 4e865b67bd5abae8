"""The supervisor: starts the worker, keeps its events, watches time and money, and says what happened.

    python -m sftrun.job.supervise.entry JOB.json        events on stdout, one JSON object a line

It loads the standard library and the contract only.  A worker that dies (memory, CUDA, SIGKILL) takes nobody with it;
a supervisor that dies takes its worker with it, and the next one goes on from the last whole checkpoint.
Exit codes: 0 finished, 3 failed, 4 stopped (it can be resumed), 6 somebody else is at this run.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sftrun.contract import events
from sftrun.contract.events import Failed, StopReason
from sftrun.contract.jobspec import JobSpec
from sftrun.contract.record_files import EVENTS, LOCK
from sftrun.disk import flock
from sftrun.disk.flock import Holder
from sftrun.errors import EXIT_BUG, RunBusy, SftrunError, UsageError
from sftrun.job.supervise.record import Record
from sftrun.job.supervise.supervisor import Peers, Supervisor, alone

EXIT_FAILED = 3
ORPHAN_SECONDS = 10.0  # an orphaned worker is killed by the kernel at once; its GPU memory takes a little to go


def supervise(
    spec: JobSpec,
    *,
    emit: Callable[[str], None] = print,
    commit: Callable[[], None] = lambda: None,
    stop_reason: StopReason = "user",
    peers: Peers = alone,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Run the job to its end; returns the exit code.

    `emit` gets each event's line after it stands in `events.jsonl`; `commit` is called after each checkpoint and at the
    end, `ready` once the checkpoints are in order.  `stop_reason` is what a SIGINT or SIGTERM means here, `peers` how
    another machine failed, asked with the seconds that may be waited for it.  A stop that was asked for before this
    began is obeyed: who starts an attempt has to forget that of the one before (`stopping.clear`).  Raises RunBusy if
    another process is at this run.
    """
    record_dir = Path(spec.record_dir)
    try:
        record_dir.mkdir(parents=True, exist_ok=True)
        held = take_lock(record_dir)
    except OSError as error:
        return _refused(spec, error, emit)
    try:
        record = Record(record_dir / EVENTS)
        try:
            return Supervisor(spec, record, held, emit, commit, stop_reason, peers, ready).run()
        finally:
            record.close()
    except OSError as error:
        return _refused(spec, error, emit)
    finally:
        os.close(held)


def take_lock(record_dir: Path, wait_seconds: float = ORPHAN_SECONDS) -> int:
    """The descriptor that holds the run's lock; RunBusy with the holder's name, OSError where nothing can be written.

    The worker inherits it, so that a new supervisor can't begin while an orphan of the old one still writes
    checkpoints.  Only for that one is waited: a supervisor that lives itself will not be gone soon.
    """
    deadline = time.monotonic() + wait_seconds

    def wait(who: Holder | None) -> None:
        if time.monotonic() > deadline or (who is not None and who.is_here()):
            name = "another process" if who is None else who.describe(time.time())
            raise RunBusy(f"{name} is at this run ({record_dir})", help="wait for it, attach to it or cancel it")
        time.sleep(0.1)

    return flock.acquire(record_dir / LOCK, wait)


def load(path: str) -> JobSpec:
    """The job's description from its file."""
    try:
        return JobSpec.read(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no job: {error}") from None


def main(arguments: list[str]) -> int:
    """The command line; a broken world is one line on stderr."""
    if len(arguments) != 1:
        print("usage: python -m sftrun.job.supervise.entry JOB.json", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return supervise(load(arguments[0]), emit=Lines())
    except SftrunError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return error.exit_code


class Lines:
    """Lines on stdout, until nobody listens: the run goes on without."""

    def __init__(self) -> None:
        self._deaf = False

    def __call__(self, line: str) -> None:
        if self._deaf:
            return
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except OSError:
            self._deaf = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(spec: JobSpec, error: OSError, emit: Callable[[str], None]) -> int:
    """The record itself can't be kept: said to whoever listens, as there is no other place."""
    message = f"can't write {error.filename or spec.record_dir}: {error.strerror}"
    event = Failed(failure="disk", stage="start", message=message, help="make room there, or choose another folder")
    emit(events.dump(event))
    return EXIT_FAILED


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception:
        import traceback

        traceback.print_exc()
        sys.exit(EXIT_BUG)
