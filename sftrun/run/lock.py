"""Who is at a run: an advisory lock (flock) on a file that holds its holder's name and age (`contract.holder`).

Nothing has to be cleaned up after a kill -9: whether the lock is held is the kernel's word.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sftrun.contract.holder import Holder, parse, sign, try_lock
from sftrun.disk import make_folder, translated
from sftrun.errors import RunBusy

PATIENCE_SECONDS = 60.0


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None if nobody does.

    The kernel is asked only where the holder's process may live: asking takes the lock for an instant, which must not
    get in the way of a supervisor that is about to take it.
    """
    try:
        with path.open("rb") as file:
            said = parse(file.read())
            if said is not None and said.is_gone():
                return None
            return (said or Holder(0, "?", "?", path.stat().st_mtime)) if _is_held(file.fileno()) else None
    except OSError:
        return None


@contextmanager
def exclusive(path: Path, waiting: Callable[[Holder], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock at `path` for a short while; wait for another holder, and give up on one who keeps it."""
    make_folder(path.parent)
    with translated("open the lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait_for(descriptor, path, waiting)
        with translated("write the lock", path):
            sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path, waiting: Callable[[Holder], None]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    told = False
    while not try_lock(descriptor):
        who = holder(path)
        if who is not None and not told:
            waiting(who)
            told = True
        if time.monotonic() > give_up:
            name = who.describe(time.time()) if who else "another process"
            raise RunBusy(f"{name} holds `{path}`", help="wait for it, or end that process")
        time.sleep(0.05)


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
