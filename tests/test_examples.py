"""Examples collect themselves: every file below tests/examples is a test, and every code has one.

`bad/NAME.yaml` has its exact expected text beside it in `NAME.txt`, and what else stands on the command line in
`NAME.args`, and its date in `NAME.today`.
After a change on purpose, `python tests/test_examples.py` writes the texts anew: read the diff.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest

from sftrun.cli.recipes.validate import judge
from sftrun.diagnostics import Diagnostic
from sftrun.facts.values import Machine
from sftrun.recipe.load import load
from sftrun.recipe.words.codes import TABLE
from sftrun.report.show.carets import render

HERE = Path(__file__).parent / "examples"
BAD = sorted((HERE / "bad").glob("*.yaml"))
# what an earlier run left in the local twins of the examples' Volumes
HOME = HERE / "bad" / "with" / "home"
GOOD = sorted((HERE / "good").glob("*.yaml"))
# codes of files that can't be kept in a repository, and of other tools' files, which `tests/recipe/imports` holds;
MADE_BY_TESTS = {"Y109", "Y116", "I101", "I102", "M134"}


def said_about(file: Path) -> str:
    """What `validate` prints about an example, as seen from its folder."""
    args = file.with_suffix(".args")
    overrides = tuple(args.read_text("utf-8").splitlines()[1::2]) if args.exists() else ()
    before = Path.cwd()
    os.chdir(file.parent)
    try:
        with (
            TemporaryDirectory() as home,
            patch.dict(os.environ, {"SFTRUN_HOME": shutil.copytree(HOME, home, dirs_exist_ok=True)}),
            patch("sftrun.facts.gather.machine", Machine),
            patch("sftrun.facts.gather.find_spec", lambda tracker: None),
            patch("sftrun.facts.gather.datetime") as clock,
        ):
            clock.datetime.now.return_value.date.return_value.isoformat.return_value = _today(file)
            loaded, diagnostics = judge(file.name, overrides, None, offline=True)
    finally:
        os.chdir(before)
    return render(map(_anywhere, diagnostics), loaded.source, colour=False) + "\n"


def _today(file: Path) -> str:
    """Prices are dated: an example has the day that `NAME.today` says, or one when they are fresh."""
    day = file.with_suffix(".today")
    return day.read_text("utf-8").strip() if day.exists() else "2026-10-07"


def _anywhere(found: Diagnostic) -> Diagnostic:
    """The same on every machine: an absolute path would wrap elsewhere."""
    here = str(HERE / "bad")
    help = found.help.replace(here, "/recipes") if found.help else None
    return found._replace(message=found.message.replace(here, "/recipes"), help=help)


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_bad_example_is_told_so_in_exactly_these_words(file: Path) -> None:
    said = said_about(file)

    assert said == file.with_suffix(".txt").read_text("utf-8")
    assert f"[{file.stem.partition('-')[0]}]" in said


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_no_line_of_a_message_is_wider_than_eighty_columns(file: Path) -> None:
    from sftrun.report.show.carets import columns

    assert [line for line in said_about(file).splitlines() if columns(line) > 80] == []


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_good_example_is_accepted_without_a_word(file: Path) -> None:
    loaded = load(file)

    assert [found.message for found in loaded.diagnostics] == []
    assert loaded.recipe is not None


def test_every_code_of_the_table_has_a_bad_example() -> None:
    shown = {file.stem.partition("-")[0] for file in BAD}

    assert set(TABLE) - shown - MADE_BY_TESTS == set()


def test_every_example_is_named_after_a_code_of_the_table() -> None:
    assert {file.stem.partition("-")[0] for file in BAD} <= set(TABLE)


def test_no_expected_text_is_left_without_its_example() -> None:
    texts = {file.stem for file in (HERE / "bad").glob("*.txt")}

    assert texts - {file.stem for file in BAD} == set()


if __name__ == "__main__":
    for example in BAD:
        example.with_suffix(".txt").write_text(said_about(example), "utf-8")
