"""The tested stacks: one lock file a purpose, made by `tools/lock.py`."""

from pathlib import Path

FOLDER = Path(__file__).parent


def read(name: str) -> dict[str, str]:
    """Package -> exact version of one lock."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==", 1) for line in lines if line and not line.startswith("#"))
