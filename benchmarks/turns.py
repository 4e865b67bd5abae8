"""Many work, one measures: while a process's clock runs, all others are frozen, with their compilers and loaders.

A lock on which the others pause would do as well, but a compiler's next pause may be 20 s away; SIGSTOP takes none.
What is frozen may hold files' locks, so each process needs compilers' caches of its own.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


class Turn:
    """A process's side of it.  Every answer is how many seconds it was frozen, or kept waiting, until now."""

    def __init__(self, descriptor: int) -> None:
        self.line = socket.socket(fileno=descriptor)
        self.answers = self.line.makefile()
        # a loader's worker would keep the line open for its dead parent
        os.register_at_fork(after_in_child=lambda: os.close(descriptor))

    def lost_seconds(self) -> float:
        return self._ask("lost")

    def measure(self) -> float:
        """Returns once all others are frozen."""
        return self._ask("measure")

    def over(self) -> float:
        """The others may go on."""
        return self._ask("over")

    def _ask(self, word: str) -> float:
        self.line.sendall(f"{word}\n".encode())
        return float(self.answers.readline())


@dataclass
class Group:
    """A process with all that it starts; `since`: when it was frozen, or began to wait."""

    process: "subprocess.Popen[bytes]"
    line: socket.socket
    since: float | None = None
    lost: float = 0.0

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def hold(self) -> None:
        self.since = self.since or time.monotonic()

    def let_go(self) -> None:
        if self.since is not None:
            self.lost += time.monotonic() - self.since
            self.since = None

    def answer(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.line.sendall(f"{self.lost}\n".encode())


class Turns:
    """The side of who started them all."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.waiting: list[Group] = []
        self.alone: Group | None = None
        self.lines = selectors.DefaultSelector()

    def start(self, command: list[str], folder: Path, log: Path, environment: dict[str, str]) -> Group:
        """`command` gets the number of a descriptor, for its `Turn`, as its last argument."""
        ours, theirs = socket.socketpair()
        caches = {name: str(folder / name.lower()) for name in CACHES}
        with log.open("wb") as output, theirs:
            process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdout=output,
                stderr=output,
                env=environment | caches,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        group = Group(process, ours)
        self.groups.append(group)
        self.lines.register(ours, selectors.EVENT_READ, group)
        return group

    def serve(self, seconds: float) -> None:
        """Answer what is asked within that time; who is gone measures no more."""
        for key, _ in self.lines.select(seconds):
            group: Group = key.data
            words = group.line.recv(4096).decode().split()
            for word in words or ("gone",):
                self._hear(group, word)
        if self.alone is None and self.waiting:
            self._grant(self.waiting.pop(0))

    def end(self) -> None:
        """Kill all that is left."""
        for group in tuple(self.groups):
            group.send(signal.SIGKILL)
            group.process.wait()
            self._forget(group)

    def _hear(self, group: Group, word: str) -> None:
        if word == "measure":
            group.hold()
            self.waiting.append(group)
            return
        if group is self.alone and word in ("over", "gone"):
            self.alone = None
            for other in self._others(group):
                other.send(signal.SIGCONT)
                if other not in self.waiting:
                    other.let_go()
        if word == "gone":
            self._forget(group)
        else:
            group.answer()

    def _grant(self, group: Group) -> None:
        self.alone = group
        for other in self._others(group):
            other.send(signal.SIGSTOP)
            other.hold()
        group.let_go()
        group.answer()

    def _others(self, group: Group) -> Iterator[Group]:
        return (other for other in self.groups if other is not group)

    def _forget(self, group: Group) -> None:
        self.lines.unregister(group.line)
        group.line.close()
        self.groups.remove(group)
        self.waiting = [other for other in self.waiting if other is not group]
