"""Who is at a run: an advisory lock (flock) on a file that holds its holder's name and age.

The kernel drops a flock when its process dies, however it dies, so a lock never outlives its holder and nothing has to
be cleaned up after a kill -9.  The JSON in the file is for people; whether the lock is held is the kernel's word.
"""

import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sftrun.errors import RunBusy
from sftrun.run.files import make_folder, translated

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock; `since` in seconds since 1970."""

    pid: int
    host: str
    user: str
    since: float

    def describe(self, now: float) -> str:
        return f"{self.user}@{self.host} (process {self.pid}, for {age(now - self.since)})"


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None if nobody does.

    The kernel is asked only where the holder's process may live: asking takes the lock for an instant, which must not
    get in the way of a supervisor that is about to take it.
    """
    try:
        with path.open("rb") as file:
            said = _parse(file.read())
            if said is not None and said.host == socket.gethostname() and not is_alive(said.pid):
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
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(vars(myself())).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def myself() -> Holder:
    """This process as a holder."""
    return Holder(os.getpid(), socket.gethostname(), user_name(), time.time())


def user_name() -> str:
    """The login name, or the number where the system knows none (containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def is_alive(pid: int) -> bool:
    """A process of that number runs on this machine."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def age(seconds: float) -> str:
    """A duration in one or two units: 12 s, 3 min 20 s, 5 h 2 min."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _wait_for(descriptor: int, path: Path, waiting: Callable[[Holder], None]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    told = False
    while not _try_lock(descriptor):
        who = holder(path)
        if who is not None and not told:
            waiting(who)
            told = True
        if time.monotonic() > give_up:
            name = who.describe(time.time()) if who else "another process"
            raise RunBusy(f"{name} holds `{path}`", help="wait for it, or end that process")
        time.sleep(0.05)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _parse(text: bytes) -> Holder | None:
    try:
        data = json.loads(text)
        return Holder(int(data["pid"]), str(data["host"]), str(data["user"]), float(data["since"]))
    except (ValueError, KeyError, TypeError):
        return None
