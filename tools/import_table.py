"""How much of a folder of other tools' configurations `sftrun import` carries: a table, by tool.

    python tools/import_table.py axolotl/examples LLaMA-Factory/examples
    python tools/import_table.py axolotl/examples --reasons

`whole`: a recipe that loads, with nothing but what only its author knows to fill in (where the data is, how many rows
it has, the Volume, the GPU).  `otherwise`: the run would be another, in the ways that `--reasons` counts.  `refused`:
no supervised fine-tuning of text.  The share is that of whole among whole and otherwise.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sftrun.errors import SftrunError
from sftrun.recipe.foreign.foreign_file import table
from sftrun.recipe.foreign.importing import imported
from sftrun.recipe.load import load

SUFFIXES = (".yaml", ".yml", ".py", ".ipynb")
OUTCOMES = ("whole", "otherwise", "refused", "not valid")


class Judged(NamedTuple):
    """What became of one file, and why where it is not whole."""

    tool: str
    outcome: str
    reasons: tuple[str, ...]


def judge(file: Path) -> Judged | None:
    """None for a file of no tool that is known."""
    try:
        found = imported(file.read_text("utf-8"), file.name)
    except (SftrunError, UnicodeDecodeError):
        return None
    tool = table(found.tool).tool
    reasons = tuple(one.message for one in found.diagnostics)
    if found.diagnostics:
        return Judged(tool, "refused" if found.is_refused else "otherwise", reasons)
    wrong = [one for one in load("recipe.yaml", text=found.text).diagnostics if one.severity == "error"]
    return Judged(tool, "not valid" if wrong else "whole", tuple(one.message for one in wrong))


def judged(folders: list[str]) -> Iterator[Judged]:
    """All files below the folders."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("*") if file.suffix in SUFFIXES)
    return (one for file in files if (one := judge(file)) is not None)


def rows(found: list[Judged]) -> Iterator[str]:
    """The table, as Markdown."""
    yield f"| tool | files | {' | '.join(OUTCOMES)} | share |"
    yield "| --- |" + " ---: |" * (len(OUTCOMES) + 2)
    for tool in sorted({one.tool for one in found}):
        count = Counter(one.outcome for one in found if one.tool == tool)
        text = sum(count.values()) - count["refused"]
        share = f"{100 * count['whole'] / text:.1f} %" if text else "–"
        yield f"| {tool} | {sum(count.values())} | {' | '.join(str(count[one]) for one in OUTCOMES)} | {share} |"


def main() -> None:
    """Print the table, and with `--reasons` what stands in the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--reasons", action="store_true", help="count what stands in the way")
    given = parser.parse_args()
    found = list(judged(given.folders))
    print("\n".join(rows(found)))
    if given.reasons:
        for (tool, outcome, reason), many in Counter(
            (one.tool, one.outcome, reason) for one in found for reason in one.reasons
        ).most_common():
            print(f"{many:4} {tool}, {outcome}: {reason}")


if __name__ == "__main__":
    main()
