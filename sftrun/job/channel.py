"""The worker's mouth: events go down a pipe of their own, as libraries print to stdout what they like."""

import os
import sys

from sftrun.contract import events
from sftrun.contract.events import Event
from sftrun.job.process import EVENTS


class Channel:
    """`say` writes one event.  Only the first process of several speaks; a failure is said by whoever has it."""

    def __init__(self) -> None:
        path = os.environ.get(EVENTS)
        self.rank = int(os.environ.get("RANK", "0"))
        self._pipe = os.open(path, os.O_WRONLY | os.O_CLOEXEC) if path else os.dup(sys.stdout.fileno())

    def say(self, event: Event) -> None:
        """Raises BrokenPipeError when the supervisor is gone."""
        if self.rank == 0 or isinstance(event, events.Failed):
            rest = memoryview((events.dump(event) + "\n").encode())
            while rest:
                rest = rest[os.write(self._pipe, rest) :]

    def note(self, message: str, *, is_warning: bool = False) -> None:
        self.say(events.Note(level="warning" if is_warning else "info", message=message))
