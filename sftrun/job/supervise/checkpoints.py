"""Checkpoints: which are whole, which to go on from, which to drop.

The trainer writes `checkpoint-N`; then our marker goes in, last, after everything is on the disk.  A folder counts when
its marker names this run and every file in it has the size that the marker says.  So a kill, a full disk or a lost
power supply at any moment leaves either a whole checkpoint or none.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sftrun.disk import files, outside

MARKER = "sftrun-complete.json"
PREFIX = "checkpoint-"


@dataclass(frozen=True)
class Found:
    """What a folder of checkpoints holds; `torn` are those that can't be trusted, with the reason."""

    newest: Path | None
    step: int
    torn: tuple[tuple[Path, str], ...]


def find(folder: str | Path, run_id: str) -> Found:
    """The newest whole checkpoint of this run, and the torn ones."""
    newest, newest_step, torn = None, 0, []
    for step, path in steps(folder):
        why = fault(path, run_id)
        if why is None:
            newest, newest_step = path, step
        else:
            torn.append((path, why))
    return Found(newest, newest_step, tuple(torn))


def steps(folder: str | Path) -> list[tuple[int, Path]]:
    """Every checkpoint folder with its step, oldest first."""
    return sorted(_numbered(Path(folder)))


def fault(path: Path, run_id: str) -> str | None:
    """Why this checkpoint can't be used; None for a whole one."""
    try:
        marker = outside.read_object(path / MARKER)
    except FileNotFoundError:
        return "it was never completed"
    except (OSError, outside.Damaged):
        return "its marker is damaged"
    match marker:
        case {"run_id": str(owner), "files": dict(sizes)}:
            return _missing(path, sizes) if owner == run_id else "it belongs to another run"
    return "its marker is damaged"


def complete(path: Path, run_id: str, step: int) -> None:
    """Flush every file to the disk, then write the marker."""
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.name != MARKER)
    for file in found:
        files.flush(file)
    sizes = {str(file.relative_to(path)): file.stat().st_size for file in found}
    told = {"version": 1, "run_id": run_id, "step": step, "files": sizes}
    files.write(path / MARKER, json.dumps(told, indent=1))
    files.flush(path.parent)


def _missing(path: Path, sizes: dict[str, object]) -> str | None:
    """The first file that is not there in the size that the marker says."""
    for name, size in sizes.items():
        try:
            found = (path / name).stat().st_size
        except (OSError, ValueError):
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    return None


def discard(path: Path) -> None:
    """Remove a checkpoint, its marker first: what is left of it by a crash is torn, not whole."""
    (path / MARKER).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def rotate(folder: str | Path, limit: int | None, keep: str | None) -> None:
    """Drop the oldest beyond `limit`, never the newest and never `keep` (the best one)."""
    present = [path for _, path in steps(folder)]
    protected = {present[-1]} if present else set()
    if keep is not None:
        protected |= {path for path in present if path.name == Path(keep).name}
    surplus = len(present) - max(limit, len(protected)) if limit else 0
    for path in [path for path in present if path not in protected][: max(0, surplus)]:
        discard(path)


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        if number.isdigit() and path.is_dir():
            yield int(number), path
