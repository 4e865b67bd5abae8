"""The stop file: `record_dir/stop`, JSON with a reason.  Whoever wants the run to stop writes it; the worker looks at
every step, ends with a checkpoint and says so.  A file, because the CLI, another machine and a signal can all make one.
"""

import json
import os
import time
from pathlib import Path
from typing import cast, get_args

from sftrun.contract.events import StopReason
from sftrun.contract.record_files import STOP
from sftrun.disk import files, outside

DEADLINE = "SFTRUN_DEADLINE"


def by_itself(deadline: float | None) -> dict[str, str]:
    """The environment of a process that stops at `deadline` (`time.monotonic` of this machine) without being asked."""
    return {} if deadline is None else {DEADLINE: f"{deadline:.3f}"}


def request(record_dir: str | Path, reason: StopReason) -> None:
    """Ask for a stop at the next step; the first reason stands.  A supervisor's threads may ask at the same moment."""
    path = Path(record_dir) / STOP
    if not path.exists():
        files.write(path, json.dumps({"reason": reason}), durable=False)


def requested(record_dir: str | Path) -> StopReason | None:
    """The reason of the stop that was asked for; an unreadable file means the user.

    A process with a deadline has been asked once it is over: its supervisor may be stopped, and then nobody counts.
    """
    path = Path(record_dir) / STOP
    if not path.exists():
        return "budget" if time.monotonic() > float(os.environ.get(DEADLINE, "inf")) else None
    try:
        reason = outside.read_object(path).get("reason")
    except (OSError, outside.Damaged):
        return "user"
    return cast(StopReason, reason) if reason in get_args(StopReason) else "user"


def clear(record_dir: str | Path) -> None:
    """Forget a stop that an earlier attempt obeyed; before anybody can ask the next one for another."""
    (Path(record_dir) / STOP).unlink(missing_ok=True)
