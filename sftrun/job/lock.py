"""One supervisor to a run: an exclusive `flock` on `record_dir/lock`, with its holder's name inside.

The kernel drops the lock when the last process that has the descriptor is gone.  The worker inherits it, so that a new
supervisor can't begin while an orphan of the old one still writes checkpoints.
"""

import fcntl
import getpass
import json
import os
import socket
import time
from pathlib import Path

from sftrun.errors import RunBusy

NAME = "lock"
WAIT_SECONDS = 10.0  # an orphaned worker is killed by the kernel at once; its GPU memory takes a little to go


def acquire(record_dir: Path, wait_seconds: float = WAIT_SECONDS) -> int:
    """The descriptor that holds the lock; RunBusy with the holder's name, OSError where nothing can be written."""
    descriptor = os.open(record_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait(descriptor, record_dir, wait_seconds)
        _sign(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def holder(record_dir: Path) -> dict[str, object]:
    """What the last holder wrote of itself: pid, host, user, since; empty if nothing readable stands there."""
    try:
        found = json.loads((record_dir / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_held(record_dir: Path) -> bool:
    """Whether a process on this machine holds the lock now."""
    try:
        descriptor = os.open(record_dir / NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(descriptor)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, record_dir: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try(descriptor):
        who = holder(record_dir)
        if time.monotonic() > deadline or _lives(who):
            raise RunBusy(_describe(who, record_dir), help="wait for it, attach to it or cancel it")
        time.sleep(0.1)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(who: dict[str, object]) -> bool:
    """Whether the supervisor itself is alive, not only its orphan: then waiting is of no use."""
    pid = who.get("pid")
    if not isinstance(pid, int) or who.get("host") != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _describe(who: dict[str, object], record_dir: Path) -> str:
    if not who:
        return f"another process is at this run ({record_dir})"
    since = who.get("since")
    age = f", for {time.time() - since:.0f} s" if isinstance(since, int | float) else ""
    return f"process {who.get('pid')} of {who.get('user')} on {who.get('host')} is at this run{age} ({record_dir})"


def _sign(descriptor: int) -> None:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        user = str(os.getuid())
    who = {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": round(time.time(), 3)}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)
