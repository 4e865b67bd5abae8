"""`validate --fix` does what its help says, where that leaves no choice; `--set` takes an exclusive key's place."""

from pathlib import Path

import pytest

from sftrun.cli.main import main
from sftrun.recipe.known import EXCLUSIVE
from sftrun.recipe.load import load
from sftrun.recipe.models import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
WRONG = """\
# kept
name: mine   # kept too
model: builtin:tiny
lora: {lora_rank: 8}
dataset: {train: {hub: tatsu-lab/alpaca, split: train}}
lr: 1.0e-3
trainer: {max_steps: 10, push_to_hub: true}
compute: {gpu: cpu}
output: out/x
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(WRONG)
    return Path("r.yaml")


def test_fix_mends_all_of_it_a_missing_version_too(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "r.yaml", "--fix"]) == 0, capsys.readouterr().out
    text = recipe.read_text()
    assert text.startswith("version: 1\n# kept\nname: mine   # kept too\nmodel: {name_or_path: builtin:tiny}\n")
    assert "output: {dir: out/x}" in text
    found = load(recipe).recipe
    assert found is not None
    assert (found.trainer.learning_rate, found.lora.r if found.lora else 0, found.compute.gpu) == (1e-3, 8, "none")


def test_validate_says_that_fix_would_mend_it(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "r.yaml"]) == 1
    assert "`sftrun validate r.yaml --fix` mends " in capsys.readouterr().err
    assert recipe.read_text() == WRONG


def test_fix_leaves_a_choice_to_its_reader(recipe: Path) -> None:
    text = WRONG.replace("max_steps: 10, push_to_hub: true", "max_steps: 10, num_train_epochs: 1")
    recipe.write_text(text)
    assert main(["validate", "r.yaml", "--fix"]) == 1
    assert "max_steps: 10, num_train_epochs: 1" in recipe.read_text()


def test_what_is_right_is_not_touched(recipe: Path) -> None:
    main(["validate", "r.yaml", "--fix"])
    mended = recipe.read_text()
    main(["validate", "r.yaml", "--fix"])
    assert recipe.read_text() == mended


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
@pytest.mark.parametrize("override", ["trainer.max_steps=60", "trainer.num_train_epochs=2", "trainer.warmup_steps=5"])
def test_an_override_takes_the_place_of_the_key_that_says_the_same(file: Path, override: str) -> None:
    assert [one for one in load(file, (override,)).diagnostics if one.severity == "error"] == []


def test_both_overridden_is_still_a_contradiction() -> None:
    found = load(RECIPES[0], ("trainer.max_steps=60", "trainer.num_train_epochs=2"))
    assert "R202" in [one.code for one in found.diagnostics]


def test_every_exclusive_key_is_one_of_the_recipe_s() -> None:
    for pair in EXCLUSIVE:
        for key in pair:
            section, name = key.split(".")
            kind = Recipe.model_fields[section].annotation
            assert name in str(getattr(kind, "model_fields", kind)) or section == "quantization"
