"""`validate .` finds recipes, also those with mistakes, and no YAML of another kind."""

from pathlib import Path

import pytest

from sftrun.cli.recipes.recipe_files import is_recipe, recipes_below
from tests.cli.test_validate import GOOD, sftrun

COMPOSE = """\
version: "3.8"
name: shop
services: {web: {image: nginx}}
volumes: {data: {}}
secrets: {key: {file: k}}
"""
WORKFLOW = "name: ci\non: [push]\njobs: {test: {runs-on: ubuntu-latest}}\n"
CHART = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"
AXOLOTL = "base_model: a/b\ndatasets: [{path: x.jsonl, type: alpaca}]\noutput_dir: ./out\n"
TORCHTUNE = "model: {_component_: x}\ntokenizer: {_component_: y}\ndataset: {_component_: z}\noptimizer: {lr: 1e-4}\n"
OUMI = "model: {model_name: a/b}\ndata: {train: {}}\ntraining: {trainer_type: TRL_SFT}\n"


@pytest.mark.parametrize("text", [COMPOSE, WORKFLOW, CHART, AXOLOTL, TORCHTUNE, OUMI, "", "a: 1\n", "- x\n"])
def test_yaml_of_another_kind_is_no_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text)

    assert not is_recipe(tmp_path / "f.yaml")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("version: 1", "version: 7"),
        GOOD.replace("version: 1\n", ""),
        GOOD.replace("version: 1", "versoin: 1"),
        GOOD.replace("version: 1", 'version: "1"'),
        GOOD.replace("lora: {r: 16}", "lora: {r: 16"),
        GOOD.replace("lora", "\tlora"),
        "version: 1\nextends: base.yaml\n",
        "version: 1\ntrainer: {max_steps: 5}\n",
        "\ufeff" + GOOD,
    ],
)
def test_a_recipe_with_a_mistake_is_still_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text, encoding="utf-8")

    assert is_recipe(tmp_path / "f.yaml")


def test_folders_of_other_programs_are_left_out(tmp_path: Path) -> None:
    for name in ("a", ".sftrun/runs/r1", ".github/workflows", "node_modules/x", "venv/lib"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "r.yml").write_text(GOOD)

    assert recipes_below(tmp_path) == [str(tmp_path / "a" / "r.yml")]


def test_a_folder_below_a_hidden_one_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "r.yaml").write_text(GOOD)

    assert recipes_below(tmp_path / ".work") == [str(tmp_path / ".work" / "r.yaml")]


def test_a_folder_with_other_yaml_alone_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yaml").write_text(COMPOSE)
    code, _ = sftrun("validate", tmp_path)

    assert code == 2


def test_a_file_that_is_named_is_judged_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yaml").write_text(COMPOSE)
    code, done = sftrun("validate", tmp_path / "docker-compose.yaml")

    assert (code, "error" in done.stdout) == (1, True)
