"""Try something in a process of its own, with bounds: what a user's command may cost, and how it may end.

A fork of this process, which has all modules loaded, so that a try costs milliseconds.  Bounds are CPU seconds, which
another process's work does not use up; a wait that uses none (a pipe nobody writes to) has a bound of its own.
"""

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sftrun.disk.outside import CONTROLS

CPU_SECONDS = 10
WAIT_SECONDS = 60.0
MEMORY_BYTES = 1 << 30
EXIT_BUG = 70


@dataclass
class Tried:
    """How one try went; `wrong` says what may not be, nothing where all is well."""

    code: int = 0
    wrong: list[str] = field(default_factory=list)


def forked(act: Callable[[], Sequence[str]]) -> Tried:
    """`act` returns what it found wrong; a crash, a hang and too much memory are found here."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            _bounded(act, said.fileno())
        status, usage = _waited(child)
        said.seek(0)
        found = Tried(status, said.read().decode(errors="replace").splitlines())
    if status < 0:
        found.wrong.append(_ended_by(-status))
    if usage.ru_maxrss * 1024 > MEMORY_BYTES:
        found.wrong.append(f"took {usage.ru_maxrss / 1e6:.1f} GB")
    return found


def _bounded(act: Callable[[], Sequence[str]], said: int) -> None:
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        wrong = act()
    except BaseException as error:
        wrong = [f"raised {type(error).__name__}: {error}"]
    with contextlib.suppress(OSError):
        os.write(said, "\n".join(wrong).encode(errors="replace"))
    os._exit(0)


def _waited(child: int) -> tuple[int, resource.struct_rusage]:
    deadline = time.monotonic() + WAIT_SECONDS
    pause = 0.001
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGALRM)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _ended_by(number: int) -> str:
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return f"took more than {CPU_SECONDS} s"
    return f"waited more than {WAIT_SECONDS:.0f} s" if number == signal.SIGALRM else f"died of signal {number}"


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def faults(self, command: Sequence[str]) -> Iterator[str]:
        """What no input may make a command do."""
        words = " ".join(command)
        if self.code == EXIT_BUG:
            yield f"`{words}` exits 70: {self.err.splitlines()[0] if self.err else ''}"
        if strange := set(CONTROLS.findall(self.out + self.err)):
            yield f"`{words}` prints control characters: {sorted(strange)!r}"


def sftrun(*command: str) -> Said:
    """One command line, in this process."""
    from sftrun.cli.main import main

    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(errors="replace"))
    return Said(code, *texts)


def load_modules() -> None:
    """All that the commands import, once and before anything is forked."""
    from sftrun.cli.main import SECTIONS

    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "SFTRUN_DEBUG": "", "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}
    for entries in SECTIONS.values():
        for entry in entries:
            __import__(f"sftrun.cli.{entry.module}")
    for name in ("modal", "tokenizers", "sftrun.run.modal.executor", "sftrun.report.show.html", "rich.table"):
        __import__(name)
    for module in ("examine", "runs.watching", "runs.applying"):
        __import__(f"sftrun.cli.{module}")


def at(folder: Path, act: Callable[[], Sequence[str]]) -> Callable[[], Sequence[str]]:
    """`act`, with `folder` as the working folder."""

    def there() -> Sequence[str]:
        os.chdir(folder)
        return act()

    return there


def quietly(text: str) -> None:
    """A line on stderr: results go to stdout."""
    sys.stderr.write(f"{text}\n")
