"""Why a worker died that could not say so itself, in words."""

import contextlib
import os
import signal
import time
from pathlib import Path

from sftrun.contract.events import Failed, FailureKind, StageName
from sftrun.job.failures import LESS_MEMORY

ANSWER_SECONDS = 2.0
STACK = "where the worker stood, the innermost call last:"
TAIL_BYTES = 16_384
TAIL_LINES = 20
OUT_OF_MEMORY_WORDS = ("CUDA out of memory", "OutOfMemoryError", "CUBLAS_STATUS_ALLOC_FAILED", "MemoryError")
_CGROUP_FILES = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def explain(returncode: int, stage: StageName, tail: tuple[str, ...], oom_kills: int, gpus: int) -> Failed:
    """`returncode` as subprocess gives it (negative: a signal); `oom_kills` since the worker began."""
    kind, message, help = _reason(returncode, tail, oom_kills, gpus)
    return Failed(failure=kind, stage=stage, message=f"{message} in stage `{stage}`", help=help, tail=tail)


def stalled(tail: tuple[str, ...], stage: StageName, seconds: float) -> Failed:
    """A worker that lives and does nothing; `tail` is where it hangs, if it could say so."""
    return Failed(
        failure="stalled",
        stage=stage,
        message=f"the worker gave no sign of life for {seconds / 60:.0f} min in stage `{stage}`",
        help="run it again: it goes on from its last checkpoint; what it said last shows where it hung",
        tail=tail,
    )


def where(group: int, log: Path, begin: int) -> tuple[str, ...]:
    """The stack of a worker that hangs, innermost call last, or the end of its log where it does not answer.

    Whoever has no handler for the signal (`process.guard`) is ended by it: the whole group is about to be.
    """
    end = log.stat().st_size
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGUSR1)
    asked, size = time.monotonic(), end
    while time.monotonic() - asked < ANSWER_SECONDS:
        time.sleep(0.1)
        before, size = size, log.stat().st_size
        if before == size > end:
            break
    with log.open("rb") as file:
        file.seek(end)
        lines = file.read(TAIL_BYTES).decode(errors="replace").splitlines()
    calls = [line.rstrip() for line in lines if line.startswith("  File ")][: TAIL_LINES - 1]
    return (STACK, *reversed(calls)) if calls else read_tail(log, begin)


def read_tail(path: Path, begin: int = 0) -> tuple[str, ...]:
    """The last lines of a log from byte `begin` on, bounded however long it is."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ()
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-TAIL_LINES:]


def count_oom_kills() -> int:
    """Processes that the kernel has killed in this cgroup for want of memory; 0 where that can't be known."""
    for name in _CGROUP_FILES:
        try:
            lines = Path(name).read_text().splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0


def _reason(code: int, tail: tuple[str, ...], oom_kills: int, gpus: int) -> tuple[FailureKind, str, str]:
    text = "\n".join(tail)
    if any(word in text for word in OUT_OF_MEMORY_WORDS):
        return "out_of_memory", f"the {'GPU' if gpus else 'machine'} ran out of memory", LESS_MEMORY
    if code == -signal.SIGKILL and oom_kills:
        return (
            "out_of_memory",
            "the kernel killed the worker: the machine's memory is used up",
            f"raise `compute.memory`, or {LESS_MEMORY}",
        )
    if code == -signal.SIGKILL:
        return (
            "killed",
            "the worker was killed (SIGKILL)",
            "run it again: it goes on from its last checkpoint; if it is killed again, memory is short",
        )
    if code < 0:
        return (
            "killed" if code == -signal.SIGTERM else "error",
            f"the worker was ended by {_signal_name(-code)}",
            "run it again: it goes on from its last checkpoint",
        )
    if code == 0:
        return "error", "the worker ended without a word", "see the log of the run"
    return "error", f"the worker ended with exit code {code}", "see the last lines of its output"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
