"""The Hub's cache on this disk, by its library's own rules and without it: the layout is public and stable."""

import os
import re
from pathlib import Path

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def cached_folder(name: str, revision: str | None, environment: dict[str, str]) -> Path | None:
    """The snapshot of a model in the Hub's cache; None if that revision is not there."""
    kept = cache_home(environment) / ("models--" + name.replace("/", "--"))
    wanted = revision or "main"
    try:
        commit = wanted if _COMMIT.match(wanted) else (kept / "refs" / wanted).read_text().strip()
        folder = kept / "snapshots" / commit
        return folder if (folder / "config.json").exists() else None
    except (OSError, ValueError):
        return None


def cache_home(environment: dict[str, str]) -> Path:
    """Where the Hub's library keeps its files, by its own rules."""
    for key in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(key):
            return Path(environment[key]).expanduser()
    return home(environment) / "hub"


def home(environment: dict[str, str]) -> Path:
    """The folder of all that the Hub's tools keep."""
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"]).expanduser()
    base = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "huggingface"
