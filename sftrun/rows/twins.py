"""The chat templates that ship with this program: TRL's, as the locked release has them, with their marked twins.

`qwen3.jinja` is a model's own, `qwen3_training.jinja` the same with `{% generation %}` marks.  They ship here, so that
what is learnt does not depend on whether TRL is installed where it is asked.  `tools/chat_templates.py` copies them.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).with_name("templates")
INDEX = "index.json"
TRAINING = "_training"


def marked(text: str) -> str | None:
    """The marked twin of a template, known by its very text; None where there is none."""
    name = _index().get(digest(text))
    return None if name is None else shipped(f"{name}{TRAINING}")


def shipped(name: str) -> str | None:
    """The text of a shipped template by its name (`qwen3`), or None."""
    file = FOLDER / f"{name}.jinja"
    return file.read_text(encoding="utf-8") if name.isidentifier() and file.is_file() else None


def names() -> tuple[str, ...]:
    """Of all that ship and are not twins, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.jinja") if not file.stem.endswith(TRAINING)))


def digest(text: str) -> str:
    """How the index names a template."""
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(1)
def _index() -> dict[str, str]:
    found: dict[str, str] = json.loads((FOLDER / INDEX).read_bytes())
    return found
