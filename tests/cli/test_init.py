"""`sftrun init`: from data alone to a recipe that is right, priced and explained."""

import csv
import json
from pathlib import Path
from unittest.mock import patch

import click
import pytest
from click.testing import CliRunner

from sftrun.cli.examine import examine_file
from sftrun.cli.main import main
from sftrun.cli.starting import beginning, drafting, shipped, wizard
from sftrun.cli.starting.drafting import Here, Wishes
from sftrun.contract.executors import LOCAL, MODAL
from sftrun.facts.values import Machine

NO_GPU = Here(Machine(cpu_cores=2, memory_gb=16))
OWN_GPU = Here(Machine(gpu_name="NVIDIA GeForce RTX 4090", gpu_count=1, gpu_memory_gb=24, cpu_cores=16, memory_gb=64))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODAL_CONFIG_PATH", str(tmp_path / "no.toml"))
    monkeypatch.delenv("MODAL_TOKEN_ID", raising=False)
    with Path("asked.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("instruction", "output"))
        rows.writerows((f"What is the code of article {n}?", f"A{n * 7 % 1000}") for n in range(60))


def init(*words: str, here: Here = NO_GPU) -> int:
    with patch.object(beginning, "here", lambda: here):
        return main(["init", *words])


def test_data_alone_make_a_recipe_that_is_right_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert init("asked.csv") == 0

    said = capsys.readouterr().out
    assert "60 rows, read as instruction" in said
    assert "What is the code of article 0?" in said
    assert said.endswith("recipe.yaml: written\nnext: sftrun apply recipe.yaml\n")
    found = examine_file("recipe.yaml")
    assert found.diagnostics == ()
    assert found.plan is not None
    assert found.plan.compute.executor == "local"


@pytest.mark.parametrize("goal", ["try", "good", "best"])
@pytest.mark.parametrize("place", ["here", "modal"])
@pytest.mark.parametrize("here", [NO_GPU, OWN_GPU], ids=["cpu", "gpu"])
def test_every_goal_makes_a_valid_recipe_everywhere(goal: str, place: str, here: Here) -> None:
    assert init("asked.csv", "--goal", goal, "--on", place, here=here) == 0
    assert [one.code for one in examine_file("recipe.yaml").diagnostics if one.severity == "error"] == []


def test_for_modal_the_cheapest_gpu_and_a_budget_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert init("asked.csv", "--on", "modal", "--model", "Qwen/Qwen2.5-0.5B-Instruct") == 0
    assert "$" in capsys.readouterr().out
    text = Path("recipe.yaml").read_text()
    assert "the cheapest that fits" in text
    assert "max_usd: 1.00" in text


def test_a_budget_that_is_said_is_the_recipe_s() -> None:
    init("asked.csv", "--on", "modal", "--budget", "$7")
    assert "max_usd: 7.00" in Path("recipe.yaml").read_text()


def test_a_data_set_of_the_hub_is_named_as_one() -> None:
    assert init("tatsu-lab/alpaca", "--on", "modal") == 0
    assert "{hub: tatsu-lab/alpaca, split: train}" in Path("recipe.yaml").read_text()


def test_every_line_that_decides_has_its_reason() -> None:
    init("asked.csv")
    text = Path("recipe.yaml").read_text()
    for key in ("name_or_path", "r", "train", "format", "num_train_epochs", "max_length", "learning_rate", "executor"):
        (line,) = [one for one in text.splitlines() if one.startswith(f"  {key}:")]
        assert "#" in line, key


def test_what_stands_there_is_replaced_with_force_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipe.yaml").write_text("mine")
    assert init("asked.csv") == 1
    assert "say --force" in capsys.readouterr().err
    assert Path("recipe.yaml").read_text() == "mine"
    assert init("asked.csv", "--force") == 0


def test_data_that_are_wrong_write_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.jsonl").write_text(json.dumps({"a": 1}) + "\n")
    assert init("odd.jsonl") == 1
    assert init("none.jsonl") == 1
    assert "error[D" in capsys.readouterr().err
    assert not Path("recipe.yaml").exists()


def test_the_recipe_names_its_data_relative_to_itself() -> None:
    Path("recipes").mkdir()
    init("asked.csv", "-o", "recipes/mine.yaml")
    assert f"train: {Path('asked.csv').absolute()}" in Path("recipes/mine.yaml").read_text()
    assert examine_file("recipes/mine.yaml").ok


@pytest.mark.parametrize("one", [one.name for one in shipped.listed()])
def test_every_shipped_recipe_is_copied_with_the_data_that_it_names(one: str) -> None:
    assert main(["init", "--from", one]) == 0
    assert "D101" not in [found.code for found in examine_file(f"{one}.yaml").diagnostics]
    assert main(["init", "--from", one]) == 1


def test_a_misspelt_recipe_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--from", "quikstart"]) == 1
    assert "did you mean `quickstart`?" in capsys.readouterr().err


def test_without_data_and_without_a_terminal_it_says_what_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 2
    assert "sftrun init questions.csv" in capsys.readouterr().err


def asked(answers: str) -> Wishes | None:
    """What the wizard makes of the answers; None where it was left."""
    found: list[Wishes] = []

    @click.command()
    def asking() -> None:
        found.append(wizard.ask(model=None, goal=None, where=None, budget=None, hours=None))

    with patch.object(beginning, "here", lambda: NO_GPU):
        CliRunner().invoke(asking, input=answers)
    return found[0] if found else None


def test_the_wizard_s_enter_takes_what_would_be_chosen_anyway() -> None:
    assert asked("\n\n\n\n") == Wishes("asked.csv", "builtin:tiny", "good", LOCAL)


def test_the_wizard_asks_again_and_takes_a_budget() -> None:
    found = asked("nothing.csv\nasked.csv\nbest\nmodal\n\n12\n")
    assert found is not None
    assert (found.goal, found.where, found.model, found.max_usd) == ("best", MODAL, "Qwen/Qwen2.5-14B-Instruct", 12)


def test_the_wizard_left_has_no_wishes() -> None:
    assert asked("asked.csv\n") is None


def test_here_is_chosen_where_a_gpu_and_the_packages_are() -> None:
    wishes = Wishes("asked.csv")
    assert drafting.where(wishes, OWN_GPU)[0] is LOCAL
    assert drafting.where(wishes, OWN_GPU._replace(lacks=("torch",), has_modal=True))[0] is MODAL
    assert drafting.where(wishes, NO_GPU._replace(has_modal=True))[0] is MODAL
    assert drafting.where(wishes, NO_GPU)[0] is LOCAL
