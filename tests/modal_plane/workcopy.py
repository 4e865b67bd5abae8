"""A container's private copy of a Volume: nothing lasts before `commit`, nothing of others is seen before `reload`.

Both sides may have changed since the copy was taken, so each move carries over only what its own side changed:
a commit does not delete the file that somebody uploaded meanwhile.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

Stamp = tuple[int, int, int]
Listing = dict[str, Stamp]


@dataclass
class WorkingCopy:
    committed: Path
    working: Path
    _base: Listing = field(default_factory=dict)
    _seen: Listing = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.working.mkdir(parents=True, exist_ok=True)
        self.reload()

    def commit(self) -> None:
        """Carry what this container wrote or removed to the committed folder."""
        self._base = _carry(self.working, self.committed, self._base)
        self._seen = _listing(self.committed)

    def reload(self) -> None:
        """Commit, then bring in what others committed; Modal also commits when it reloads."""
        if self._base or any(self.working.iterdir()):
            self.commit()
            self._seen = {}
        self._seen = _carry(self.committed, self.working, self._seen)
        for gone in _listing(self.working).keys() - self._seen.keys():
            _remove(self.working / gone)
        self._base = _listing(self.working)


def _carry(source: Path, target: Path, before: Listing) -> Listing:
    """Copy what is new or changed in `source` since `before`, remove from `target` what is gone from it."""
    now = _listing(source)
    for path in sorted(now):
        if before.get(path) != now[path]:
            _copy(source / path, target / path)
    for path in sorted(before.keys() - now.keys(), reverse=True):
        _remove(target / path)
    return now


def _listing(root: Path) -> Listing:
    found: Listing = {}
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in files + links:
            path = os.path.join(folder, name)
            try:
                stat = os.lstat(path)
            except FileNotFoundError:
                continue
            found[os.path.relpath(path, root)] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        empty = [name for name in folders if not os.listdir(os.path.join(folder, name))]
        found.update({os.path.relpath(os.path.join(folder, name), root) + "/": (0, 0, 0) for name in empty})
    return found


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
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
