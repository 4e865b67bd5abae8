"""Where things lie on this machine: the ledger's folder, and for a local run each mount's folder below it.

The standard library only, so that listing runs needs no pydantic.
"""

import os
import re
from pathlib import Path

RUN_ID = re.compile(r"[0-9a-f]{10}")


def ledger_folder() -> Path:
    """SFTRUN_HOME, or `.sftrun` in the working folder.  It need not exist yet."""
    return Path(os.environ.get("SFTRUN_HOME") or ".sftrun").absolute()


def runs_folder(root: Path) -> Path:
    return root / "runs"


def volume_folder(root: Path, name: str) -> Path:
    """The local twin of the Modal Volume `name`."""
    return root / "volumes" / name


def mounts(root: Path, volumes: dict[str, str]) -> dict[str, str]:
    """Mount path of the recipe -> folder on this machine."""
    return {mount: str(volume_folder(root, name)) for mount, name in volumes.items()}
