"""The Hub's cache on this disk, by its library's own rules and without it: importing that would take 0.3 s.

The layout is public and stable; a test asks the library for the same folders.
"""

import os
import re
from pathlib import Path

from sftrun.disk import outside

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_MAX_REF_BYTES = 100
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def cached_folder(name: str, revision: str | None) -> Path | None:
    """The snapshot of a model in the Hub's cache; None if that revision is not there."""
    kept = cache_home() / ("models--" + name.replace("/", "--"))
    wanted = revision or "main"
    try:
        commit = wanted if _COMMIT.match(wanted) else _commit(kept / "refs", wanted)
        folder = kept / "snapshots" / commit
        return folder if (folder / "config.json").exists() else None
    except (OSError, ValueError):
        return None


def _commit(refs: Path, branch: str) -> str:
    """What the cache knows of a branch: a name's parts are no way out of its folder."""
    if Path(branch).is_absolute() or ".." in Path(branch).parts:
        raise ValueError(branch)
    commit = outside.read_text(refs / branch, max_bytes=_MAX_REF_BYTES).strip()
    if not _COMMIT.match(commit):
        raise ValueError(commit)
    return commit


def cache_home() -> Path:
    """Where the library keeps what it has fetched."""
    said = os.getenv("HF_HUB_CACHE") or os.getenv("HUGGINGFACE_HUB_CACHE")
    return _path(said) if said else _home() / "hub"


def _home() -> Path:
    """The folder of all that the Hub's tools keep."""
    said = os.getenv("HF_HOME")
    return _path(said) if said else _path(os.getenv("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def _path(said: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(said)))
