"""An adapter as PEFT keeps it: two files, known by their content.  Read by who plans and by who trains."""

import hashlib
from collections.abc import Callable
from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FILES = (CONFIG, WEIGHTS)


def digest(path: Path) -> str:
    """Hash of a file's content; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content(folder: Path, hashed: Callable[[Path], str] = digest) -> str:
    """What tells an adapter from every other one; raises OSError."""
    told = "".join(f"{name} {hashed(folder / name)}\n" for name in FILES)
    return hashlib.sha256(told.encode()).hexdigest()
