"""What is generated and committed is what would be generated now."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from jsonschema import Draft202012Validator

from sftrun.cli.schema import NAMES, text_of

ROOT = Path(__file__).parent.parent


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_up_to_date(name: str) -> None:
    text = (ROOT / "schemas" / f"{name}-v1.schema.json").read_text(encoding="utf-8")
    assert text == text_of(name), "run `python tools/schemas.py`"
    Draft202012Validator.check_schema(json.loads(text))


def test_the_page_of_commands_is_up_to_date() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == tool("cli_docs").text(), "run `python tools/cli_docs.py`"


def test_every_error_has_its_exit_code_in_the_table() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert all(f"\n| {code} | " in page for code in (0, 1, 2, 3, 4, 5, 6, 7, 70, 130))
