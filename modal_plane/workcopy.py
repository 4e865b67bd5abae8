"""A container's private copy of a Volume: nothing lasts before `commit`, nothing of others is seen before `reload`.

Both sides may change at any moment, also while they are compared, so each move carries over only what its own side
changed: a commit does not undo the upload of somebody else, a reload does not touch what the job has just written.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Stamp = tuple[int, int, int]
Listing = dict[str, Stamp]


@dataclass
class WorkingCopy:
    """`_committed` and `_working` say what each side looked like when last carried over, path by path."""

    committed: Path
    working: Path
    _committed: Listing = field(default_factory=dict)
    _working: Listing = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.working.mkdir(parents=True, exist_ok=True)
        self._take_over()

    def commit(self) -> None:
        """Carry what this container wrote or removed to the committed folder."""
        _carry(self.working, self.committed, self._working, self._committed)

    def reload(self) -> None:
        """Commit, as Modal does when it reloads, then bring in what others committed."""
        self.commit()
        self._take_over()

    def has_open_files(self, pids: list[int]) -> bool:
        """Whether one of these processes has a file or its working directory here."""
        mine = {(stat.st_dev, stat.st_ino) for stat in _stats(self.working)}
        return any(_opened(pid) & mine for pid in pids)

    def _take_over(self) -> None:
        _carry(self.committed, self.working, self._committed, self._working)


def _carry(source: Path, target: Path, of_source: Listing, of_target: Listing) -> None:
    """Copy what is new or changed in `source`, remove from `target` what is gone from it, and note both sides."""
    now = _listing(source)
    for path in sorted(now):
        if of_source.get(path) != now[path]:
            _copy(source / path, target / path)
            of_source[path] = now[path]  # as it was before the copy: a write meanwhile is found the next time
            of_target[path] = _stamp(target / path)
    for path in sorted(of_source.keys() - now.keys(), reverse=True):
        _remove(target / path)
        del of_source[path]
        of_target.pop(path, None)


def _listing(root: Path) -> Listing:
    """Files, links and empty folders; the name of a folder ends with a slash."""
    found: Listing = {}
    for folder, folders, files in os.walk(root):
        for name in files + [each for each in folders if os.path.islink(os.path.join(folder, each))]:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = _stamp(Path(path))
        if not folders and not files and folder != str(root):
            found[os.path.relpath(folder, root) + "/"] = (0, 0, 0)
    return found


def _stamp(path: Path) -> Stamp:
    with suppress(FileNotFoundError):
        stat = path.lstat()
        if not path.is_dir() or path.is_symlink():
            return stat.st_size, stat.st_mtime_ns, stat.st_ino
    return 0, 0, 0


def _copy(source: Path, target: Path) -> None:
    """Beside, then renamed: who reads the target meanwhile sees the old file or the new one."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copy2(source, beside, follow_symlinks=False)
        os.replace(beside, target)
    except FileNotFoundError:
        beside.unlink(missing_ok=True)  # the job removed it while we looked; the next commit says so


def _remove(path: Path) -> None:
    """A folder only if it is empty: one that has got files since is no longer listed either."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
            path.parent.rmdir()


def _stats(root: Path) -> list[os.stat_result]:
    found = []
    for path in (root, *root.rglob("*")):
        with suppress(OSError):
            found.append(path.stat())
    return found


def _opened(pid: int) -> set[tuple[int, int]]:
    """Device and inode of all that a process holds; by number, for its paths are those of another namespace."""
    found = set()
    for link in (f"/proc/{pid}/cwd", *(f"/proc/{pid}/fd/{number}" for number in _names(f"/proc/{pid}/fd"))):
        with suppress(OSError):
            stat = os.stat(link)
            found.add((stat.st_dev, stat.st_ino))
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
