"""What is generated and committed is what would be generated now."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sftrun.cli.recipes.schema import NAMES, file_name, text_of
from tools import diagnostics_docs, recipe_docs

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_up_to_date(name: str) -> None:
    text = (ROOT / "schemas" / file_name(name)).read_text(encoding="utf-8")
    assert text == text_of(name), "run `python tools/schemas.py`"
    Draft202012Validator.check_schema(json.loads(text))


def test_the_page_of_commands_is_up_to_date() -> None:
    # in a process of its own: click keeps the --help of a command as it was first asked for it
    show = "import runpy, sys; sys.stdout.write(runpy.run_path('tools/cli_docs.py')['text']())"
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    made = subprocess.run([sys.executable, "-c", show], cwd=ROOT, env=env, capture_output=True, check=True)
    page = (ROOT / "docs" / "cli.md").read_bytes()
    assert page == made.stdout, "run `python tools/cli_docs.py`"


def test_the_page_of_recipe_keys_is_up_to_date() -> None:
    assert recipe_docs.PAGE.read_text(encoding="utf-8") == recipe_docs.text(), "run `python tools/recipe_docs.py`"


def test_the_page_of_diagnostics_is_up_to_date() -> None:
    made = diagnostics_docs.text()
    assert diagnostics_docs.PAGE.read_text(encoding="utf-8") == made, "run `python tools/diagnostics_docs.py`"


def test_every_error_has_its_exit_code_in_the_table() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert all(f"\n| {code} | " in page for code in (0, 1, 2, 3, 4, 5, 6, 7, 70, 130))
