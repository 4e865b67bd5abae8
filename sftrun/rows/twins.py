"""The chat templates that ship with this program: TRL's, as the locked release has them, and others under `own/`.

`qwen3.jinja` is a model's own, `qwen3_training.jinja` the same with `{% generation %}` marks.  They ship here, so that
what is learnt does not depend on whether TRL is installed where it is asked.  `tools/chat_templates.py` copies them.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Final

FOLDER = Path(__file__).with_name("templates")
INDEX = "index.json"
TRAINING = "_training"
# other names of the same
ALIASES: Final = {
    "aya": "cohere",
    "command_a": "cohere2",
    "command_r": "cohere",
    "command_r7b": "cohere2",
    "deepseek_r1": "deepseek_r1_distill",
    "deepseek_v2": "deepseek",
    "gemma2": "gemma",
    "llama3_3": "llama3_1",
    "mistral_nemo": "mistral_tekken",
    "mistral_small": "mistral_v7",
    "mixtral": "mistral",
    "phi3_mini": "phi3",
    "qwen": "qwen2_5",
    "yi": "chatml",
}


def marked(text: str) -> str | None:
    """The marked twin of a template, known by its very text; None where there is none."""
    name = _index().get(digest(text))
    return None if name is None else shipped(f"{name}{TRAINING}")


def shipped(name: str) -> str | None:
    """The text of a shipped template by its name (`qwen3`, also `Qwen-3`), or None."""
    is_twin = name.isidentifier() and name.endswith(TRAINING)
    file = FOLDER / f"{name}.jinja" if is_twin else _files().get(_plain(name))
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else None


def names() -> tuple[str, ...]:
    """Of all that ship and are not twins, sorted."""
    return tuple(sorted({file.stem for file in _files().values()}))


def digest(text: str) -> str:
    """How the index names a template."""
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(1)
def _index() -> dict[str, str]:
    found: dict[str, str] = json.loads((FOLDER / INDEX).read_bytes())
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in "-_. ")


@lru_cache(1)
def _files() -> dict[str, Path]:
    """Plain name -> file."""
    own = {file.stem: file for folder in (FOLDER, FOLDER / "own") for file in folder.glob("*.jinja")}
    found = {name: file for name, file in own.items() if not name.endswith(TRAINING)}
    return {_plain(name): file for name, file in (found | {k: own[v] for k, v in ALIASES.items()}).items()}
