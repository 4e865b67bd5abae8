"""Locks: a `flock` on a file that says who holds it.

The kernel drops a flock when the last process that has the descriptor is gone, however it went: nothing has to be
cleaned up after a kill -9, and whether a lock is held is the kernel's word.  The JSON in the file is for people.
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

from sftrun.disk import outside
from sftrun.disk.commands import make_folder, translated
from sftrun.errors import RunBusy
from sftrun.units import age

PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_MAX_PID = 2**31 - 1
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock; `since` in seconds since 1970."""

    pid: int
    host: str
    user: str
    since: float

    def describe(self, now: float) -> str:
        return f"{self.user}@{self.host} (process {self.pid}, for {age(now - self.since)})"

    def is_here(self) -> bool:
        """Whether its process is on this machine and lives."""
        return self.host == socket.gethostname() and is_alive(self.pid)

    def is_gone(self) -> bool:
        """Whether its process was on this machine and lives no more."""
        return self.host == socket.gethostname() and not is_alive(self.pid)


def myself() -> Holder:
    """This process as a holder."""
    return Holder(os.getpid(), socket.gethostname(), user_name(), round(time.time(), 3))


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


def acquire(path: Path, wait: Callable[[Holder | None], None]) -> int:
    """The descriptor that holds the lock at `path`, signed with this process; OSError where it can't be written.

    `wait` is called as long as somebody else holds it, with who that is where the file says so: it pauses, or raises
    to give up.  Whoever inherits the descriptor holds the lock too.
    """
    descriptor = _open(path)
    try:
        _take(descriptor, wait)
        _sign(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def held(path: Path, wait: Callable[[Holder | None], None]) -> Iterator[None]:
    """Hold the lock at `path`; `wait` as for `acquire`."""
    descriptor = acquire(path, wait)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path, waiting: Callable[[Holder], None] = lambda _: None) -> Iterator[None]:
    """Hold it for a short while, for a command: `waiting` is told once for whom; RunBusy where that one keeps it."""
    make_folder(path.parent)
    with translated("open the lock", path):
        descriptor = _open(path)
    try:
        _take(descriptor, _patience(path, waiting))
        with translated("write the lock", path):
            _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None if nobody does.

    The kernel is asked only where the holder's process may live: asking takes the lock for an instant, which must not
    get in the way of a supervisor that is about to take it.
    """
    try:
        with path.open("rb") as file:
            said = _read(file.fileno())
            if said is not None and said.is_gone():
                return None
            return (said or Holder(0, "?", "?", path.stat().st_mtime)) if _is_held(file.fileno()) else None
    except OSError:
        return None


def _patience(path: Path, waiting: Callable[[Holder], None]) -> Callable[[Holder | None], None]:
    give_up = time.monotonic() + PATIENCE_SECONDS
    told = False

    def wait(who: Holder | None) -> None:
        nonlocal told
        if who is not None and not told:
            waiting(who)
            told = True
        if time.monotonic() > give_up:
            name = who.describe(time.time()) if who else "another process"
            raise RunBusy(f"{name} holds `{path}`", help="wait for it, or end that process")
        time.sleep(_POLL_SECONDS)

    return wait


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _take(descriptor: int, wait: Callable[[Holder | None], None]) -> None:
    while not _try(descriptor):
        wait(_read(descriptor))


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(vars(myself())).encode(), 0)


def _read(descriptor: int) -> Holder | None:
    """Who has signed; None where nothing readable stands."""
    try:
        told = outside.parse_object(os.pread(descriptor, _MAX_BYTES, 0))
    except outside.Damaged:
        return None
    match told:
        case {"pid": int(pid), "host": str(host), "user": str(user), "since": int() | float() as since}:
            return Holder(pid, host, user, float(since)) if 0 <= pid <= _MAX_PID else None
    return None


def _try(descriptor: int) -> bool:
    """Take the lock if nobody has it."""
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
