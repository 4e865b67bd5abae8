"""Which files of a folder are recipes: `validate .` looks at those alone, and not at other YAML beside them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_SUFFIXES = (".yaml", ".yml")
# folders of other programs; those whose names begin with a dot are left out besides
_OTHERS = frozenset({"node_modules", "site-packages", "__pycache__", "venv"})
_MOST_BYTES = 256 * 1024
# a line that begins a section of a recipe; what other tools have at the top as well tells less
_SECTION = re.compile(r"^(model|dataset|trainer|lora|quantization|compute|output|samples|budget|extends)\s*:", re.M)
_VERSION = re.compile(r"^[\"']?v[a-z]{3,9}[\"']?\s*:", re.M)
_TELLING = frozenset({"model", "dataset", "trainer", "lora", "quantization", "compute", "extends"})
_OTHER_KIND = re.compile(r"^(services|jobs|on|repos|apiVersion|kind|tokenizer|optimizer|training|data)\s*:", re.M)


def recipes_below(folder: Path) -> list[str]:
    """The recipes of a folder and those below it, in order."""
    return sorted(str(file) for file in _yaml_below(folder) if is_recipe(file))


def is_recipe(file: Path) -> bool:
    """Whether a file means to be a recipe, by the keys at its top: also one with a mistake, in `version` too."""
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES).decode("utf-8", "replace").removeprefix("\ufeff")
    except OSError:
        return True  # the diagnostic says why it can't be read
    sections = set(_SECTION.findall(text))
    if _OTHER_KIND.search(text) and "trainer" not in sections:
        return False
    return len(sections) >= 3 or bool(_VERSION.search(text) and sections & _TELLING)


def _yaml_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _OTHERS]
        yield from (Path(place) / name for name in files if name.endswith(_SUFFIXES) and not name.startswith("."))
