"""Write docs/recipe.md from the recipe's own models.  `python tools/recipe_docs.py`; a test compares.

Keys, what they take, their defaults and their descriptions are read off `sftrun.recipe.models`, by the functions that
`sftrun explain KEY` uses.  Only the words around them stand here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sftrun.recipe.models import Recipe
from sftrun.recipe.words import kinds

PAGE = Path(__file__).parent.parent / "docs" / "recipe.md"
HEAD = """\
# The recipe

<!-- written by tools/recipe_docs.py from sftrun/recipe/models.py; edit those -->

A recipe is one YAML file. Every key is listed here with what it takes, its default and what it does.
`sftrun explain KEY` says the same in the terminal, and editors complete from `schemas/recipe-v1.schema.json`. Keys have
the names of the library that they go to: TRL's `SFTConfig`, PEFT's `LoraConfig`, transformers' `BitsAndBytesConfig`,
Modal's `app.function`.

```yaml
version: 1
name: my-first
model: {name_or_path: builtin:tiny}
lora: {r: 16}
dataset: {train: data/train.jsonl, eval_fraction: 0.1}
trainer: {num_train_epochs: 3, max_length: 256}
compute: {executor: local}
volumes: {/outputs: my-first}
output: {dir: /outputs/my-first-lora}
```

## Rules

- `version` comes first. A file without it gets one clear diagnostic.
- An unknown key is an error at its line and column, with the nearest known key. Names that other tools use are known.
- `null` and an absent key mean the same. `auto` means 'decide for me'; `sftrun apply --dry-run` shows what was decided
  and why.
- YAML's traps are errors: a duplicate key, a tab, `no` where a word is meant, an anchor, a second document. `2e-4` is a
  number.
- `--set trainer.max_steps=60` overrides any key by its dotted path, on every command that reads a recipe.
- `extends: base.yaml` names a recipe beside this one. Mappings merge key by key; lists and single values replace.
- `sftrun migrate` brings older files to this version and keeps comments, order and quotes.
- Values of secrets never stand in a recipe: `secrets` names Modal's own.

What a value may not be together with another is in [the diagnostics](diagnostics.md).
"""
EXTENDS = ("`extends`", "a text", "–", "A recipe beside this one, which this one changes.")


def text() -> str:
    """The page as it should be."""
    below = [f"\n## {title}\n\n{_about(path)}\n\n{_table(path)}" for path, title in _sections()]
    return "\n".join([HEAD, "## All sections\n", _table(()), *below]) + "\n"


def _sections() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each section's path and heading; a section that stands in two places is shown once."""
    paths = list(_paths(Recipe, ()))
    for section in dict.fromkeys(map(kinds.section_at, paths)):
        same = [path for path in paths if kinds.section_at(path) is section]
        yield same[0], ", ".join(".".join(path) for path in same)


def _paths(section: type[BaseModel], at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name in section.model_fields:
        below = kinds.section_at((*at, name))
        if below is not None:
            yield (*at, name)
            yield from _paths(below, (*at, name))


def _about(path: tuple[str, ...]) -> str:
    section = kinds.section_at(path)
    return " ".join((section.__doc__ or "").split()) if section is not None else ""


def _table(path: tuple[str, ...]) -> str:
    section = kinds.section_at(path) or Recipe
    rows = [_row(field, (*path, name)) for name, field in section.model_fields.items()]
    if not path:
        rows.insert(list(section.model_fields).index("description") + 1, EXTENDS)
    lines = [("key", "takes", "default", "what it does"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in lines)


def _row(field: FieldInfo, path: tuple[str, ...]) -> tuple[str, str, str, str]:
    below = next((title for _, title in _sections() if ".".join(path) in title.split(", ")), None)
    takes = f"[a section](#{_anchor(below)})" if below else kinds.words(kinds.kind_at(path)) + _example(field)
    default = "–" if below else _value(field.get_default(call_default_factory=True))
    return f"`{path[-1]}`", takes, "required" if field.is_required() else default, field.description or ""


def _anchor(title: str) -> str:
    """The heading's name in a link, as GitHub and the site make it."""
    return "".join(sign for sign in title.replace(" ", "-") if sign.isalnum() or sign in "-_")


def _example(field: FieldInfo) -> str:
    """One example, where the kind alone does not show how a value is written."""
    return f", as `{_yaml(field.examples[0])}`" if field.examples and field.default != field.examples[0] else ""


def _value(value: Any) -> str:
    return "–" if value in (None, (), {}) else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """The value as one writes it in a recipe."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
