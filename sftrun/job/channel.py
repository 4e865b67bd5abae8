"""The worker's mouth: events go down a pipe of their own, as libraries print to stdout what they like."""

import os
import sys
import time

from sftrun.contract import events
from sftrun.contract.events import Event
from sftrun.job.supervise.process import EVENTS

BEAT_SECONDS = 1.0


class Channel:
    """`say` writes one event.  Only the first process of several speaks; a failure is said by whoever has it.

    The first one of each machine says too that it came to the end: what becomes of it then is no failure.
    """

    def __init__(self) -> None:
        path = os.environ.get(EVENTS)
        self._beat_at = 0.0
        self.rank = int(os.environ.get("RANK", "0"))
        is_first_here = os.environ.get("LOCAL_RANK", "0") == "0"
        self._is_said_by_all = (events.Failed, events.Finished, events.Stopped) if is_first_here else events.Failed
        self._pipe = os.open(path, os.O_WRONLY | os.O_CLOEXEC) if path else os.dup(sys.stdout.fileno())

    def say(self, event: Event) -> None:
        """Raises BrokenPipeError when the supervisor is gone."""
        if self.rank == 0 or isinstance(event, self._is_said_by_all):
            rest = memoryview((events.dump(event) + "\n").encode())
            while rest:
                rest = rest[os.write(self._pipe, rest) :]

    def beat(self) -> None:
        """A sign of life between events, once a second at most: an empty line, which is no event."""
        now = time.monotonic()
        if self.rank == 0 and now - self._beat_at > BEAT_SECONDS:
            self._beat_at = now
            os.write(self._pipe, b"\n")

    def note(self, message: str, *, is_warning: bool = False) -> None:
        self.say(events.Note(level="warning" if is_warning else "info", message=message))
