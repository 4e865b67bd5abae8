"""Write the committed JSON Schemas: what `sftrun schema NAME` prints.  `python tools/schemas.py`; a test compares."""

from pathlib import Path

from sftrun.cli.recipes.schema import NAMES, file_name, text_of

FOLDER = Path(__file__).parent.parent / "schemas"

if __name__ == "__main__":
    for name in NAMES:
        (FOLDER / file_name(name)).write_text(text_of(name), encoding="utf-8")
