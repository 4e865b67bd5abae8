"""The Hub's cache on this disk, by its library's own rules and without it: importing that would take 0.3 s.

The layout is public and stable; a test asks the library for the same folders.
"""

import os
import re
from pathlib import Path

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def cached_folder(name: str, revision: str | None) -> Path | None:
    """The snapshot of a model in the Hub's cache; None if that revision is not there."""
    kept = cache_home() / ("models--" + name.replace("/", "--"))
    wanted = revision or "main"
    try:
        commit = wanted if _COMMIT.match(wanted) else (kept / "refs" / wanted).read_text().strip()
        folder = kept / "snapshots" / commit
        return folder if (folder / "config.json").exists() else None
    except (OSError, ValueError):
        return None


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
