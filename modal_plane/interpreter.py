"""A Python that has some distributions and nothing else: what an image holds, to be given as `python=`.

A job that imports what its image does not install passes on a laptop that has everything and dies on the GPU.
"""

import re
import sys
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path


def bare_python(folder: Path, *names: str) -> str:
    """The interpreter of a new environment that holds these installed distributions and what they require."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    for each in _closure(set(names)):
        for path in _top_level(each):
            target = site / path.name
            if path.exists() and not target.exists():
                target.symlink_to(path)
    return str(folder / "bin" / "python")


def _closure(names: set[str]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    pending = set(names)
    while pending:
        name = pending.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:
            continue  # needed on another platform, or by an extra
        required = (each for each in found[key].requires or () if "extra ==" not in each)
        pending |= {re.split(r"[\s;<>=!~\[(]", each, maxsplit=1)[0] for each in required}
    return list(found.values())


def _top_level(each: Distribution) -> set[Path]:
    """Its folders and files directly below site-packages."""
    root = Path(str(each.locate_file("")))
    tops = {path.parts[0] for path in each.files or () if path.parts[0] not in ("..", "__pycache__")}
    return {root / top for top in tops}
