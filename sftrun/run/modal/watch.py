"""What is known of a run on Modal from moment to moment: one look a second, however often it is asked for.

A look happens on a thread of its own, so that a network which answers nothing neither freezes the view nor swallows a
Ctrl-C; what was known before holds meanwhile.  What a run waits for before its job can speak (the fetching stage, a
GPU, a container) is said when it begins and, with its length, when it is over; a long wait again now and then.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Literal

import modal

from sftrun.disk.flock import Holder
from sftrun.run.ledger import RunFolder
from sftrun.run.modal import call, mirror
from sftrun.run.modal.call import Remote
from sftrun.run.modal.wire_errors import redacted, translated
from sftrun.units import age

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 30.0  # between two tries to reach a Modal that is silent
FIRST_SECONDS, LATER_SECONDS = 20.0, 1.0  # how long who asks waits for a look
SILENT_SECONDS = 5.0  # a look that takes longer is one that nobody answers

WaitName = Literal["prepare", "queue", "container"]
NAMES = {"image": "image", "prepare": "model and data", "queue": "GPU", "container": "container"}
_DONE: dict[WaitName, str] = {
    "prepare": "model and data are there",
    "queue": "got it",
    "container": "the container is up",
}


@dataclass
class Wait:
    """The wait that is going on, of one run."""

    name: WaitName | None = None
    since: float = 0.0
    told: float = 0.0

    def see(self, name: WaitName | None, gpus: str, say: Callable[[str], None]) -> tuple[WaitName, float] | None:
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


@dataclass
class Watch:
    """One run, watched from this process; `holder` is Modal while the call owes its end."""

    folder: RunFolder
    holder: Holder | None = None
    log_at: float = 0.0
    _at: float = 0.0
    _began: float = 0.0
    _pause: float = LOOK_SECONDS
    _silent_since: float | None = None
    _wait: Wait = field(default_factory=Wait)
    _thread: Thread | None = None
    _refused: BaseException | None = None

    def look(self) -> "Watch":
        """Bring what is new, if it is time; returns itself."""
        if self._thread is None or not self._thread.is_alive():
            if self._at and time.monotonic() - self._at < self._pause:
                return self
            known = call.read(self.folder) or call.told(self.folder)
            if known is None or known.settled:
                self.holder = None
                return self
            self.holder = self.holder or _modal(known)
            self._thread = Thread(target=self._refresh, args=(known,), name="look", daemon=True)
            self._thread.start()
            self._began = time.monotonic()
        patience = LATER_SECONDS if self._at else FIRST_SECONDS
        self._thread.join(min(patience, SILENT_SECONDS))
        if self._thread.is_alive() and time.monotonic() - self._began >= SILENT_SECONDS:
            self._say_silence("it does not answer")
            self._thread.join(max(patience - SILENT_SECONDS, 0.0))
        self._at = self._at or time.monotonic()
        if self._refused is not None:
            with translated():
                raise self._refused
        return self

    def _refresh(self, known: Remote) -> None:
        try:
            self._take(known)
            self._pause = LOOK_SECONDS
            if self._silent_since is not None:
                say(f"connected to Modal again, after {age(time.monotonic() - self._silent_since)}")
                self._silent_since = None
        except (modal.exception.AuthError, modal.exception.PermissionDeniedError) as error:
            self._refused = error
        except call.TROUBLE as error:
            self._pause = min(2 * self._pause, PATIENCE_SECONDS)
            self._say_silence(redacted(" ".join(str(error).split())) or type(error).__name__)
        except BaseException as error:  # a bug is to be seen by who asks, not by a thread's hook
            self._refused = error
        self._at = time.monotonic()

    def _take(self, known: Remote) -> None:
        if known.preparing:
            known = call.followed(self.folder, known)
        answer = call.ask(known.call_id)
        if answer.standing == "unknown":
            raise modal.exception.ConnectionError(str(answer.error) or "no answer")
        if answer.standing == "ended" and (moved := call.followed(self.folder, known)) is not known:
            known, answer = moved, call.PENDING  # the next look asks that one
        if answer.standing == "ended":
            mirror.settle(self.folder, known, answer)
        else:
            mirror.take(self.folder, known)
        self._see_wait(known, is_over=answer.standing == "ended")
        self.holder = None if answer.standing == "ended" else _modal(known)

    def _see_wait(self, known: Remote, *, is_over: bool) -> None:
        speaks = is_over or mirror.last_seq(self.folder) > known.since
        if speaks and self._wait.name is None:
            return
        name = None if speaks else present(known)
        over = self._wait.see(name, " or ".join(self.folder.plan().compute.gpus), say)
        if over is not None and (now := call.read(self.folder)) is not None:
            waits = {**now.waits, over[0]: round(over[1], 1)}
            call.write(self.folder, now.model_copy(update={"waits": waits}))

    def _say_silence(self, why: str) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            say(f"Modal can't be reached ({why}); the run goes on, trying again")


def present(known: Remote) -> WaitName:
    """What it waits for now."""
    if known.preparing:
        return "prepare"
    if call.task_of(known.call_id) is not None or _has_runner(known):
        return "container"
    return "queue"


def say(text: str) -> None:
    """A line for whoever watches; the live view prints above its panel what goes to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _modal(known: Remote) -> Holder:
    return Holder(0, "modal", known.user, known.started)


def _has_runner(known: Remote) -> bool:
    if not known.function_id:
        return False
    function: modal.Function[Any, Any, Any] = modal.Function.from_id(known.function_id)
    return function.get_current_stats().num_total_runners > 0


def _words(name: WaitName, gpus: str) -> str:
    match name:
        case "prepare":
            return "fetching model and data, on a container without a GPU"
        case "queue":
            return f"waiting for {gpus or 'a container'}"
        case "container":
            return "the container starts"
