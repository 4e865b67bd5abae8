"""Write the committed JSON Schemas: what `sftrun schema NAME` prints.  `python tools/schemas.py`; a test compares."""

from pathlib import Path

from sftrun.cli.recipes.schema import NAMES, text_of

FOLDER = Path(__file__).parent.parent / "schemas"

if __name__ == "__main__":
    for name in NAMES:
        (FOLDER / f"{name}-v1.schema.json").write_text(text_of(name), encoding="utf-8")
