"""Models that ship with the program: data only, found by `path`."""

from pathlib import Path

PREFIX = "builtin:"
NAMES = ("tiny",)


def path(name_or_path: str) -> Path:
    """The folder of `builtin:NAME`; raises KeyError for a name that does not ship."""
    name = name_or_path.removeprefix(PREFIX)
    if name not in NAMES:
        raise KeyError(name)
    return Path(__file__).parent / name
