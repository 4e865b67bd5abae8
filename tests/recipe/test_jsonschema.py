"""The schema for editors: in step with the models, kind to good recipes, and able to see what a schema can see."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sftrun.recipe.jsonschema import schema, text
from sftrun.recipe.models import Recipe
from sftrun.recipe.read.nodes import ListNode, MapNode, Node
from sftrun.recipe.read.source import parse

ROOT = Path(__file__).parent.parent.parent
VALIDATOR = Draft202012Validator(schema())
RIGHT = sorted([*(ROOT / "tests/examples/good").glob("*.yaml"), *(ROOT / "recipes").glob("*.yaml")])
# bad examples whose fault stands in a single key, so that an editor can underline it
SEEN = (
    "R101-no-version",
    "R102-later",
    "R103-misspelt",
    "R103-wrong-place",
    "R104-other-tools",
    "R105-missing",
    "R106-kinds",
    "R107-words",
    "R108-range",
    "R109-name",
)


def plain(node: Node | None) -> object:
    """A tree as JSON has it, nulls kept."""
    if isinstance(node, MapNode):
        return {key: plain(child) for key, child in node.items.items()}
    if isinstance(node, ListNode):
        return [plain(child) for child in node.items]
    return node.value if node is not None else None


def errors(file: Path) -> list[str]:
    read = plain(parse(file.read_text("utf-8"), file.name)[1])
    return [error.message for error in VALIDATOR.iter_errors(read)]


def test_the_committed_schema_is_the_generated_one() -> None:
    assert (ROOT / "schemas/recipe-v1.schema.json").read_text("utf-8") == text()


def test_the_schema_is_a_valid_draft_2020_12_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.stem)
def test_a_right_recipe_passes_an_independent_validator(file: Path) -> None:
    assert errors(file) == []


@pytest.mark.parametrize("name", SEEN)
def test_a_fault_of_one_key_is_seen_by_an_independent_validator(name: str) -> None:
    assert errors(ROOT / f"tests/examples/bad/{name}.yaml") != []


def test_every_key_has_a_description() -> None:
    defs = schema()["$defs"]
    bare = [
        f"{section}.{name}"
        for section, one in defs.items()
        for name, key in one["properties"].items()
        if "description" not in key
        and not any("description" in defs[part["$ref"].rpartition("/")[2]] for part in key["anyOf"] if "$ref" in part)
    ]

    assert bare == []


def test_null_is_allowed_wherever_a_key_may_be_absent() -> None:
    read = json.loads('{"version": 1, "extends": "base.yaml", "trainer": {"optim": null}, "lora": null}')

    assert list(VALIDATOR.iter_errors(read)) == []


def test_a_child_recipe_may_leave_required_keys_to_its_base() -> None:
    read = json.loads('{"version": 1, "extends": "base.yaml", "model": {"revision": "main"}}')

    assert list(VALIDATOR.iter_errors(read)) == []


def test_sections_that_an_editor_offers_are_right() -> None:
    base = {"version": 1, "name": "r", "model": {"name_or_path": "m"}, "output": {"dir": "out"}}
    long = {"dataset": {"train": {"path": "rows.jsonl"}}}
    for offered in schema()["defaultSnippets"]:
        VALIDATOR.validate(base | {"dataset": {"train": "rows.jsonl"}} | offered["body"])
        Recipe.model_validate_json(json.dumps(base | offered["body"] | long))
