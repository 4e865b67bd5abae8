"""Files named by a recipe: a path, a folder or a glob -> the files, and a hash of what is in them.

The hash is over the bytes of each file in the order of their names, so that a moved data set keeps its identity.  Each
file's own hash is remembered by path, size and time of change: 192,733 rows are read once, not at every command.
"""

import contextlib
import hashlib
import json
import re
from pathlib import Path

from sftrun.disk import files, outside
from sftrun.strict import Strict

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_GLOB = set("*?[")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Files(Strict):
    """The files of one data source on this machine, globs expanded, and a hash of their content.

    `sha256` is None where the content could not be read from here (a Volume, the Hub).
    """

    paths: tuple[str, ...] = ()
    sha256: str | None = None


def find(pattern: str, folder: str) -> tuple[Path, ...]:
    """The files that `pattern` (relative to `folder`) names, sorted; empty where there is none."""
    path = Path(folder, pattern)
    if path.is_file():
        return (path.resolve(),)
    if path.is_dir():
        return tuple(sorted(child.resolve() for child in path.iterdir() if child.suffix in SUFFIXES))
    if not _GLOB & set(pattern):
        return ()
    root = Path(path.anchor)
    return tuple(sorted(match.resolve() for match in root.glob(str(path.relative_to(root))) if match.is_file()))


def hashed(paths: tuple[Path, ...], cache_dir: Path) -> Files:
    """The files with one hash over all; raises OSError where one can't be read."""
    if not paths:
        return Files()
    digest = hashlib.sha256()
    for path in paths:
        digest.update(sha256(path, cache_dir).encode())
    return Files(paths=tuple(str(path) for path in paths), sha256=digest.hexdigest())


def sha256(path: Path, cache_dir: Path) -> str:
    """Hash of one file's content, remembered by path, size and time of change."""
    stat = path.stat()
    key = hashlib.sha256(f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()
    remembered = cache_dir / "hashes" / key
    with contextlib.suppress(OSError, outside.Damaged):
        known = outside.read_object(remembered).get("sha256")
        if isinstance(known, str) and _SHA256.fullmatch(known):
            return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(remembered, {"path": str(path), "sha256": digest})
    return digest


def _remember(file: Path, value: dict[str, str]) -> None:
    # a cache that can't be written costs time, nothing else
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write(file, json.dumps(value), durable=False)
