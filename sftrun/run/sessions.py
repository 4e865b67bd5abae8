"""End a session of processes at once: a supervisor, its worker, and whatever the worker started."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def kill_session(leader: int) -> None:
    """SIGKILL to every process of the session that `leader` leads.

    The leader first, so that it can't start anything new while the rest are counted.
    """
    for pid in (leader, *_members(leader)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _members(session: int) -> Iterator[int]:
    """The pids of a session, from /proc; none where there is no /proc (the process group has to do there)."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # the command's name stands in brackets and may hold anything; session id is the 4th field after it
            if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                yield int(entry.name)
