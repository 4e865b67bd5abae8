"""Copy TRL's chat templates into sftrun/rows/templates, with the index by which a template finds its marked twin.

    .venv/bin/python tools/chat_templates.py

TRL is Apache-2.0, as this program is; run it when the lock takes another TRL.
"""

import json
from importlib.util import find_spec
from pathlib import Path

from sftrun.rows.twins import FOLDER, INDEX, TRAINING, digest


def source() -> Path:
    """The folder of the installed TRL."""
    found = find_spec("trl")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "chat_templates"


def texts() -> dict[str, str]:
    """File name -> text."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(source().glob("*.jinja"))}


def index(found: dict[str, str]) -> dict[str, str]:
    """Digest of each template that has a marked twin -> its name."""
    stems = {name.removesuffix(".jinja"): text for name, text in found.items()}
    return {digest(text): stem for stem, text in stems.items() if f"{stem}{TRAINING}" in stems}


def main() -> None:
    found = texts()
    for old in FOLDER.glob("*.jinja"):
        old.unlink()
    for name, text in found.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    (FOLDER / INDEX).write_text(json.dumps(index(found), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
