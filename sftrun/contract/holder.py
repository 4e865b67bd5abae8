"""Who holds a lock: what stands inside the file whose `flock` says that it is held.

The kernel drops a flock when the last process that has the descriptor is gone, however it went, so that a lock never
outlives its holder; the JSON in the file is for people.
"""

import fcntl
import getpass
import json
import os
import socket
import time
from dataclasses import dataclass


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


def try_lock(descriptor: int) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sign(descriptor: int) -> None:
    """Write this process into the file of a lock that it has taken."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(vars(myself())).encode(), 0)


def parse(text: bytes) -> Holder | None:
    """Who wrote himself there; None where nothing readable stands."""
    try:
        data = json.loads(text)
        return Holder(int(data["pid"]), str(data["host"]), str(data["user"]), float(data["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def age(seconds: float) -> str:
    """A duration in one or two units: 12 s, 3 min 20 s, 5 h 2 min."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
