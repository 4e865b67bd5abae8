"""Write docs/diagnostics.md from the table of codes.  `python tools/diagnostics_docs.py`; a test compares."""

from pathlib import Path

from sftrun.recipe.words.codes import TABLE, Code

PAGE = Path(__file__).parent.parent / "docs" / "diagnostics.md"
_FAMILIES = {
    "Y": "YAML",
    "R1": "One key",
    "R2": "Keys that disagree",
    "M": "The model and its adapters",
    "D": "The data",
    "E": "The evaluation",
    "G": "The GPU",
    "V": "Volumes and paths",
    "C": "Cost and time",
    "S": "Safety",
    "I": "Import of other tools' files",
}
_HEAD = """\
# Diagnostics

<!-- written by tools/diagnostics_docs.py from sftrun/recipe/words/codes.toml; edit that -->

Every problem that `sftrun validate` can find, by its code. `sftrun explain CODE` says the same in the terminal. Errors
stop a run before it starts; warnings don't, unless `--strict` is given. Each code has an example with its exact
text in `tests/examples/bad`.
"""


def text() -> str:
    """The page's text."""
    parts = [_HEAD]
    for prefix, title in _FAMILIES.items():
        codes = [code for code in TABLE.values() if code.code.startswith(prefix)]
        parts += [f"\n## {title}\n", *map(_entry, codes)]
    return "".join(parts)


def _entry(code: Code) -> str:
    return (
        f"\n### {code.code}: {code.title}\n\n*{code.severity.capitalize()}.* {code.why}\n\n"
        f"Wrong:\n\n```yaml\n{code.bad}\n```\n\nRight:\n\n```yaml\n{code.good}\n```\n"
    )


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
