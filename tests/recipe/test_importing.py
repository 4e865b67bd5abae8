"""Files of axolotl, LLaMA-Factory and TRL become recipes that load, and nothing of them gets lost in silence."""

from pathlib import Path

import pytest

from sftrun.errors import SftrunError
from sftrun.recipe.foreign.importing import recipe_of
from sftrun.recipe.load import load

HERE = Path(__file__).parent / "imports"
FILES = sorted(file for file in HERE.glob("*.yaml") if ".recipe." not in file.name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden_file_becomes_exactly_its_recipe(file: Path) -> None:
    assert recipe_of(file.read_text("utf-8"), file.name) == file.with_suffix(".recipe.yaml").read_text("utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_imported_recipe_loads(file: Path) -> None:
    loaded = load(file.with_suffix(".recipe.yaml"))

    assert [found.message for found in loaded.diagnostics if found.severity == "error"] == []
    assert loaded.recipe is not None


def test_an_unknown_setting_becomes_a_comment() -> None:
    text = recipe_of("base_model: a/b\nadapter: lora\nfoo_bar: 7\ndatasets: [{path: x.jsonl}]\n", "f.yaml")

    assert "#   foo_bar: 7 (no such setting here)" in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_how_another_tool_shards_weights_becomes_a_comment(file: Path) -> None:
    text = recipe_of(file.read_text("utf-8") + "\ndeepspeed: zero3.json\n", file.name)

    assert "#   deepspeed: zero3.json (the plan shards weights (FSDP2) where one GPU has no room for them)" in text


@pytest.mark.parametrize("text", ["a: 1\n", "[]\n", "base_model: [\n", "x"])
def test_a_file_of_no_known_tool_is_refused(text: str) -> None:
    with pytest.raises(SftrunError):
        recipe_of(text, "f.yaml")


@pytest.mark.parametrize("value", ["5", "[1, {a: 2}]", "{a: {b: c}}", "null", "true", "x", '""', "[]", "-.5"])
@pytest.mark.parametrize("tool", ["axolotl", "llamafactory", "trl"])
def test_values_of_any_kind_give_a_recipe_or_a_comment(tool: str, value: str) -> None:
    lines = (HERE / f"{tool}.yaml").read_text("utf-8").splitlines()
    keys = [line.partition(":")[0] for line in lines if line[:1].isalpha()]

    text = "".join(f"{key}: {value}\n" for key in keys)

    assert "version: 1" in recipe_of(text, "f.yaml")
