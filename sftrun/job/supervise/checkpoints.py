"""Checkpoints: which are whole, which to go on from, which to drop.

The trainer writes `checkpoint-N`; then our marker goes in, last, after everything is on the disk.  A folder counts when
its marker names this run and every file in it has the size and the digest that the marker says.  So a kill, a full disk
or a lost power supply at any moment leaves either a whole checkpoint or none, and a disk that gives back other bytes
than were written is noticed before a step is trained on them.

Version 2 of the marker has digests.  Version 1 had sizes alone, and is still read.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sftrun.disk import digests, files, outside
from sftrun.errors import SftrunError

MARKER = "sftrun-complete.json"
PREFIX = "checkpoint-"
VERSION = 2


@dataclass(frozen=True)
class Found:
    """What a folder of checkpoints holds; `torn` are those that can't be trusted, with the reason."""

    newest: Path | None
    step: int
    torn: tuple[tuple[Path, str], ...]


def find(folder: str | Path, run_id: str, *, by_content: bool = False) -> Found:
    """The newest whole checkpoint of this run, and those that are not whole.

    `by_content` reads the files too, of the newest and of older ones as long as none was right.
    """
    newest, newest_step, torn = None, 0, []
    for step, path in reversed(steps(folder)):
        why = fault(path, run_id, by_content=by_content and newest is None)
        if why is not None:
            torn.append((path, why))
        elif newest is None:
            newest, newest_step = path, step
    return Found(newest, newest_step, tuple(reversed(torn)))


def steps(folder: str | Path) -> list[tuple[int, Path]]:
    """Every checkpoint folder with its step, oldest first."""
    return sorted(_numbered(Path(folder)))


def fault(path: Path, run_id: str, *, by_content: bool = False) -> str | None:
    """Why this checkpoint can't be used; None for a whole one.  SftrunError for one of a later release."""
    try:
        marker = outside.read_object(path / MARKER)
    except FileNotFoundError:
        return "it was never completed"
    except (OSError, outside.Damaged):
        return "its marker is damaged"
    match marker:
        case {"version": 1, "run_id": str(owner), "files": dict(sizes)}:
            wanted: dict[str, object] = {}
        case {"version": 2, "run_id": str(owner), "files": dict(sizes), "sha256": dict(wanted)}:
            pass
        case {"version": int(version)} if version > VERSION:
            raise SftrunError(
                f"{path.name} is of a later sftrun (version {version})", help="apply with that sftrun again"
            )
        case _:
            return "its marker is damaged"
    if owner != run_id:
        return "it belongs to another run"
    return _missing(path, sizes) or (_changed(path, wanted) if by_content else None)


def complete(path: Path, run_id: str, step: int) -> None:
    """Flush every file to the disk, then write the marker."""
    sizes = _sizes(path)
    found = [path / name for name in sizes]
    told = {"version": VERSION, "run_id": run_id, "step": step, "files": sizes}
    told["sha256"] = dict(zip(sizes, digests.of_files(found), strict=True))
    for file in found:
        files.flush(file)
    files.write(path / MARKER, json.dumps(told, indent=1))
    files.flush(path.parent)


def _sizes(path: Path) -> dict[str, int]:
    """Name -> bytes of each file below a checkpoint, but the marker."""
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.name != MARKER)
    return {str(file.relative_to(path)): file.stat().st_size for file in found}


def _missing(path: Path, wanted: dict[str, object]) -> str | None:
    """The first file that is not there in the size that the marker says."""
    sizes = _sizes(path)
    for name, size in wanted.items():
        if name not in sizes:
            return f"{name} is missing"
        if sizes[name] != size:
            return f"{name} has {sizes[name]} bytes instead of {size}"
    return None


def _changed(path: Path, wanted: dict[str, object]) -> str | None:
    """The first file that holds other bytes than were written."""
    try:
        found = digests.of_files([path / name for name in wanted])
    except OSError as error:
        return f"{Path(str(error.filename)).name} can't be read: {(error.strerror or '').lower()}"
    changed = [name for (name, digest), now in zip(wanted.items(), found, strict=True) if digest != now]
    return f"{changed[0]} does not hold what was written" if changed else None


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
