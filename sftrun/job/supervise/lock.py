"""One supervisor to a run: an exclusive `flock` on `record_dir/lock`, with its holder's name inside.

The worker inherits the descriptor, so that a new supervisor can't begin while an orphan of the old one still writes
checkpoints.
"""

import os
import time
from pathlib import Path

from sftrun.contract.holder import Holder, parse, sign, try_lock
from sftrun.contract.record_files import LOCK
from sftrun.errors import RunBusy

WAIT_SECONDS = 10.0  # an orphaned worker is killed by the kernel at once; its GPU memory takes a little to go


def acquire(record_dir: Path, wait_seconds: float = WAIT_SECONDS) -> int:
    """The descriptor that holds the lock; RunBusy with the holder's name, OSError where nothing can be written."""
    descriptor = os.open(record_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait(descriptor, record_dir, wait_seconds)
        sign(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _wait(descriptor: int, record_dir: Path, wait_seconds: float) -> None:
    """Only for an orphan: a supervisor that lives itself will not be gone soon."""
    deadline = time.monotonic() + wait_seconds
    while not try_lock(descriptor):
        who = parse(os.pread(descriptor, 4096, 0))
        if time.monotonic() > deadline or (who is not None and who.is_here()):
            raise RunBusy(_describe(who, record_dir), help="wait for it, attach to it or cancel it")
        time.sleep(0.1)


def _describe(who: Holder | None, record_dir: Path) -> str:
    name = "another process" if who is None else who.describe(time.time())
    return f"{name} is at this run ({record_dir})"
