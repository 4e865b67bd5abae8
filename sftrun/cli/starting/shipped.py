"""The recipes that ship with the program, and the data that they name: `sftrun init --from quickstart`."""

import re
from pathlib import Path
from typing import Final, NamedTuple

import sftrun
from sftrun.errors import SftrunError

_PACKAGE = Path(sftrun.__file__).parent
# a wheel has them inside of the package, a checkout beside it
FOLDERS: Final = (_PACKAGE / "shipped", _PACKAGE.parent / "recipes")
_SCHEMA = re.compile(r"# yaml-language-server: .*\n")


class Shipped(NamedTuple):
    """One of them."""

    name: str
    file: Path
    about: str


def listed() -> tuple[Shipped, ...]:
    """All, by name."""
    folder = next((one for one in FOLDERS if one.is_dir()), None)
    files = sorted(folder.glob("*.yaml")) if folder is not None else []
    return tuple(Shipped(file.stem, file, _about(file)) for file in files)


def named(name: str) -> Shipped:
    """The one of that name; SftrunError with the nearest where there is none."""
    from difflib import get_close_matches

    known = {one.name: one for one in listed()}
    wanted = name.removesuffix(".yaml").rpartition("/")[2]
    if wanted in known:
        return known[wanted]
    near = get_close_matches(wanted, known, 1, 0.4)
    help = f"did you mean `{near[0]}`?" if near else "`sftrun init --list` lists them"
    raise SftrunError(f"no recipe `{name}` ships with the program", help=help)


def files_of(one: Shipped, output: Path) -> dict[Path, bytes]:
    """What to write where, so that the recipe runs from there: the recipe, and the data beside it."""
    text = one.file.read_text("utf-8")
    beside = {
        output.parent / path: (one.file.parent / path).read_bytes()
        for path in re.findall(r"\b[a-z]+: *(data/[\w./-]+)", text)
        if (one.file.parent / path).is_file()
    }
    return {output: _SCHEMA.sub("", text, count=1).encode(), **beside}


def _about(file: Path) -> str:
    found = re.search(r"^description: (.*)$", file.read_text("utf-8"), re.M)
    return found[1] if found else ""
