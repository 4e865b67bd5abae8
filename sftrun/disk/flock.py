"""Locks: a `flock` on a file that says who holds it.

The kernel drops a flock when the last process that has the descriptor is gone, however it went: nothing has to be
cleaned up after a kill -9, and whether a lock is held is the kernel's word.  The JSON in the file is for people.
"""

import fcntl
import getpass
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
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
    """The process that holds a lock; `since` in seconds since 1970.

    A number names a process on one machine, until that one starts again, and in one container of it: `boot`.  It is
    given again later: `started` is when its process began, in the kernel's ticks.  Older locks have neither.
    """

    pid: int
    host: str
    user: str
    since: float
    boot: str = ""
    started: int = 0

    def describe(self, now: float) -> str:
        return f"{self.user}@{self.host} (process {self.pid}, for {age(now - self.since)})"

    def is_here(self) -> bool:
        """Whether its process is on this machine and lives."""
        return self._numbers_are_ours() and lives(self.pid, self.started)

    def is_gone(self) -> bool:
        """Whether its process was on this machine and lives no more."""
        return self._numbers_are_ours() and not lives(self.pid, self.started)

    def _numbers_are_ours(self) -> bool:
        mine = boot()
        return self.boot == mine if self.boot and mine else self.host == socket.gethostname()


def myself() -> Holder:
    """This process as a holder."""
    pid = os.getpid()
    return Holder(pid, socket.gethostname(), user_name(), round(time.time(), 3), boot(), began(pid) or 0)


@cache
def boot() -> str:
    """What tells this machine's present life from others, and this container from the next; "" where nothing does."""
    try:
        life = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{life} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def began(pid: int) -> int | None:
    """When a process of this machine began, in the kernel's ticks; None where it is gone or that can't be known."""
    try:
        # the command's name stands in brackets and may hold anything; the time is the 20th field after it
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def lives(pid: int, started: int) -> bool:
    """That very process runs on this machine; `started` of 0: whichever has the number."""
    return is_alive(pid) and (not started or began(pid) in (started, None))


def send(who: Holder, number: signal.Signals) -> bool:
    """A signal to a holder's process; False, and no signal, where that very process does not live here.

    Through a descriptor where the kernel has them: what has the number a moment later gets nothing.
    """
    try:
        descriptor = os.pidfd_open(who.pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return False
    try:
        if who.pid <= 0 or not who.is_here():
            return False
        if descriptor is None:
            os.kill(who.pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


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
            life, started = told.get("boot", ""), told.get("started", 0)
            if 0 <= pid <= _MAX_PID and isinstance(life, str) and isinstance(started, int):
                return Holder(pid, host, user, float(since), life, started)
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
