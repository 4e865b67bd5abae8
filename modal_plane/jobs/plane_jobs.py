"""Functions for containers of the plane's own tests.  Only the standard library and modal, as in a bare image."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import modal

DATA = Path("/data/checkpoints")


class JobError(Exception):
    """An exception that both sides know."""


def echo(value: object) -> object:
    sys.stdout.write(f"got {str(value)[:80]}\n")
    return value


def talk() -> None:
    """Lines, a progress bar, and an end without a newline."""
    sys.stdout.write("über\n\n 1%\r 2%\r\nend")


def seen() -> dict[str, object]:
    """What a container finds around itself."""
    return {
        "env": dict(os.environ),
        "cwd": str(Path.cwd()),
        "volume": sorted(path.name for path in DATA.iterdir()) if DATA.exists() else None,
        "modules": sorted(path.name for path in Path.cwd().glob("*.py")),
    }


def try_to_write(path: str) -> str:
    try:
        Path(path, "new.txt").write_text("new")
    except OSError as error:
        return f"{sorted(each.name for each in Path(path).iterdir())} {error.strerror}"
    return "written"


def listing(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def write(name: str, text: str, commit: bool = True) -> None:
    (DATA / name).write_text(text)
    if commit:
        modal.Volume.from_name("checkpoints").commit()


def reload_with_open_file() -> str:
    """What `reload` says while a file of the Volume is open, and that it goes well once it is closed."""
    volume = modal.Volume.from_name("checkpoints")
    with (DATA / "events.jsonl").open("a") as file:
        file.write("{}")
        file.flush()
        volume.commit()
        try:
            volume.reload()
        except RuntimeError as error:
            said = str(error)
    volume.reload()
    return said


def count_up(steps: int, commit_every: int, hold_after: int = -1) -> int:
    """Appends one line a step and resumes from what was committed; holds after one step until it is taken away."""
    volume, path = modal.Volume.from_name("checkpoints"), DATA / "steps.txt"
    done = len(path.read_text().split()) if path.exists() else 0
    resumed = done
    for step in range(done, steps):
        with path.open("a") as file:
            file.write(f"{step}\n")
        if (step + 1) % commit_every == 0:
            volume.commit()
        if step == hold_after and resumed == 0:
            sys.stdout.write("holding\n")
            time.sleep(600)
    volume.commit()
    return resumed


def hold(note: str = "") -> str:
    """Waits for a cancellation, which arrives as a BaseException, and leaves a note of it in the Volume."""
    sys.stdout.write("holding\n")
    try:
        time.sleep(600)
    except BaseException as error:
        if note:
            write(note, type(error).__name__)
        raise
    return "woke"


def hold_with_child(path: str) -> None:
    """A trainer below the supervisor: its process must go when the container goes."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(path).write_text(str(child.pid))
    sys.stdout.write("holding\n")
    child.wait()


def counting(stop: int) -> Iterator[int]:
    yield from range(stop)


def fail(message: str) -> None:
    raise JobError(message)


def fail_then_pass(failures: int) -> int:
    """Counts its attempts in the Volume."""
    path = DATA / "attempts"
    attempt = int(path.read_text()) + 1 if path.exists() else 1
    write("attempts", str(attempt))
    if attempt <= failures:
        raise JobError(f"attempt {attempt}")
    return attempt


def die(code: int) -> None:
    """Without a word: a negative code is a signal to itself."""
    if code < 0:
        os.kill(os.getpid(), -code)
    signal.pause() if code < 0 else os._exit(code)


def report(name: str, steps: int) -> None:
    """Progress through a Dict and a Queue."""
    progress = modal.Dict.from_name("progress", create_if_missing=True)
    queue = modal.Queue.from_name("events", create_if_missing=True)
    for step in range(steps):
        progress[name] = {"step": step}
        queue.put(step)


def cluster(path: str) -> list[object]:
    """Each rank leaves its mark; the caller gets rank 0's."""
    me = modal.Cluster.from_context()
    rank, ips = me.container_rank(), me.container_ips()
    Path(path, f"rank-{rank}").write_text(json.dumps(ips))
    deadline = time.monotonic() + 600
    while len(list(Path(path).glob("rank-*"))) < len(ips) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [rank, len(ips)]


def leave(path: str) -> str:
    """Interrupted, rank 0 goes without a word; the others answer at once and are long in ending.  Not the next time."""
    rank = modal.Cluster.from_context().container_rank()
    mark = Path(path, f"left-{rank}")
    if mark.exists():
        return "again"
    mark.touch()
    try:
        hold()
    except KeyboardInterrupt:
        if rank == 0:
            raise
        atexit.register(signal.pause)
    return "left"
