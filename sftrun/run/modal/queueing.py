"""What a run waits for before its job can speak: the fetching stage, a GPU, a container.  Seen from the client.

Each wait is said when it begins and, with its length, when it is over; a long one again now and then.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import modal

from sftrun.run.modal import call
from sftrun.run.modal.call import Remote
from sftrun.units import age

Name = Literal["prepare", "queue", "container"]
NAMES = {"image": "image", "prepare": "model and data", "queue": "GPU", "container": "container"}
_DONE: dict[Name, str] = {"prepare": "model and data are there", "queue": "got it", "container": "the container is up"}


@dataclass
class Wait:
    """The wait that is going on, of one run."""

    name: Name | None = None
    since: float = 0.0
    told: float = 0.0

    def see(self, name: Name | None, gpus: str, say: Callable[[str], None]) -> tuple[Name, float] | None:
        """Say what has changed; the wait that is over, with its seconds."""
        now = time.monotonic()
        over = (self.name, now - self.since) if self.name is not None and self.name != name else None
        if over is not None:
            say(f"{_DONE[over[0]]}, after {age(over[1])}")
        if name is not None and name != self.name:
            say(_words(name, gpus))
            self.since = self.told = now
        elif name is not None and now - self.told > max(60.0, (now - self.since) / 2):
            say(f"{_words(name, gpus)}, for {age(now - self.since)}")
            self.told = now
        self.name = name
        return over


def present(known: Remote) -> Name:
    """What it waits for now."""
    if known.preparing:
        return "prepare"
    if call.task_of(known.call_id) is not None or _has_runner(known):
        return "container"
    return "queue"


def _has_runner(known: Remote) -> bool:
    if not known.function_id:
        return False
    function: modal.Function[Any, Any, Any] = modal.Function.from_id(known.function_id)
    return function.get_current_stats().num_total_runners > 0


def _words(name: Name, gpus: str) -> str:
    match name:
        case "prepare":
            return "fetching model and data, on a container without a GPU"
        case "queue":
            return f"waiting for {gpus or 'a container'}"
        case "container":
            return "the container starts"
