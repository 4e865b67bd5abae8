"""Files named by a recipe: a path, a folder or a glob -> the files, and a hash of what is in them.

One rule here and on the job's machine: a folder is its own data files, a glob what it matches; both leave out hidden
files and what is no data, and take suffixes in capitals.  The hash is over the bytes of each file in the order of their
names, so that a moved data set keeps its identity.  Each file's own hash is remembered by path, size and time of
change: 192,733 rows are read once, not at every command.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sftrun.disk import files, outside
from sftrun.strict import Strict

SUFFIXES: Final = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet")
PACKINGS: Final = (".gz", ".zst")
# of LLaMA-Factory and `datasets`: they describe data sets, and hold no rows
_DESCRIBING: Final = ("dataset_info.json", "dataset_infos.json")
_GLOB = set("*?[")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Files(Strict):
    """The files of one data source on this machine, globs expanded, and a hash of their content.

    `sha256` is None where the content could not be read from here (a Volume, the Hub).
    """

    paths: tuple[str, ...] = ()
    sha256: str | None = None


def kind(path: str | Path) -> str | None:
    """The suffix that says how a file is read, in small letters and without `.gz`; None for what is no data."""
    name = str(path).lower()
    packed = packing(path)
    inner = next((s for s in SUFFIXES if name.removesuffix(packed or "").endswith(s)), None)
    return None if packed is not None and inner == ".parquet" else inner


def packing(path: str | Path) -> str | None:
    """The suffix of how a file is compressed, or None."""
    return next((suffix for suffix in PACKINGS if str(path).lower().endswith(suffix)), None)


def has_lines(path: str | Path) -> bool:
    """Whether a row is a line of the file."""
    return kind(path) in (".jsonl", ".csv", ".tsv", ".txt")


def find(pattern: str, folder: str | Path = "/") -> tuple[Path, ...]:
    """The files that `pattern` (relative to `folder`) names, sorted; empty where there is none."""
    path = Path(folder, pattern)
    try:
        if path.is_file():
            return (path.resolve(),)
        if path.is_dir():
            return _chosen(child for child in path.iterdir() if _is_data(child))
    except OSError:  # a name longer than the system takes
        return ()
    if not _GLOB & set(pattern):
        return ()
    root = Path(path.anchor)
    inside = str(path.relative_to(root))
    return _chosen(match for match in root.glob(inside) if _is_data(match) and _is_shown(match, path))


def _chosen(found: Iterable[Path]) -> tuple[Path, ...]:
    """Texts are notes where they lie beside data of another kind."""
    paths = sorted(path.resolve() for path in found)
    others = tuple(path for path in paths if kind(path) != ".txt")
    return others or tuple(paths)


def _is_data(path: Path) -> bool:
    return not path.name.startswith(".") and path.name not in _DESCRIBING and kind(path) is not None and path.is_file()


def _is_shown(match: Path, pattern: Path) -> bool:
    """Whether no folder on the way is hidden but those that the pattern itself names."""
    named = set(pattern.parts)
    return not any(part.startswith(".") and part not in named for part in match.parts)


def hashed(paths: tuple[Path, ...], cache_dir: Path) -> Files:
    """The files with one hash over all; raises OSError where one can't be read."""
    if not paths:
        return Files()
    digest = hashlib.sha256()
    for path in paths:
        digest.update(sha256(path, cache_dir).encode())
    return Files(paths=tuple(str(path) for path in paths), sha256=digest.hexdigest())


def sha256(path: Path, cache_dir: Path | None = None) -> str:
    """Hash of one file's content; with `cache_dir` remembered by path, size and time of change.  Raises OSError."""
    stat = path.stat()
    key = hashlib.sha256(f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()
    remembered = None if cache_dir is None else cache_dir / "hashes" / key
    with contextlib.suppress(OSError, outside.Damaged):
        known = None if remembered is None else outside.read_object(remembered).get("sha256")
        if isinstance(known, str) and _SHA256.fullmatch(known):
            return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if remembered is not None:
        _remember(remembered, {"path": str(path), "sha256": digest})
    return digest


def _remember(file: Path, value: dict[str, str]) -> None:
    # a cache that can't be written costs time, nothing else
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write(file, json.dumps(value), durable=False)
