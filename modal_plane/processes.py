"""The processes of a container, wherever they went.

A trainer started by torchrun lives in a session of its own, so killing the process group would miss it; what all of
them share is the environment that names their task.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

ROUNDS = 20


def of_task(task_id: str) -> list[int]:
    """Their ids, where the system has `/proc`."""
    mark, found = f"MODAL_TASK_ID={task_id}\0".encode(), []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in entry.read_bytes():
                found.append(int(entry.parts[2]))
    return found


def kill_all(task_id: str, leader: int) -> None:
    """SIGKILL to the group of `leader`, then to all others until none is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(ROUNDS):
        rest = [pid for pid in of_task(task_id) if pid != leader]
        for pid in rest:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not rest:
            return
