"""A run on this machine needs no mounts: data and output are any paths of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.cli.examine import Examined, examine_file
from sftrun.run.ledger import Ledger
from sftrun.run.local import Local

ROWS = "".join(json.dumps({"instruction": f"Add 1 to {n}.", "output": str(n + 1)}) + "\n" for n in range(20))
RECIPE = """\
version: 1
name: mine
model: {name_or_path: builtin:tiny}
lora: {}
dataset: {train: TRAIN}
trainer: {max_steps: 3}
output: {dir: OUTPUT}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))
    (tmp_path / "project").mkdir()
    (tmp_path / "train.jsonl").write_text(ROWS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def examined(project: Path, output: str, train: str = "../train.jsonl", *overrides: str) -> Examined:
    file = project / "recipe.yaml"
    file.write_text(RECIPE.replace("TRAIN", train).replace("OUTPUT", output))
    return examine_file(file, overrides)


def job(found: Examined) -> Any:
    assert found.plan is not None
    return Local(Ledger.open()).job(found.plan, "0123456789")


def said(found: Examined) -> list[tuple[str, str | None]]:
    return [(one.code, one.help) for one in found.diagnostics]


def test_a_relative_output_lies_beside_the_recipe_wherever_one_stands(project: Path) -> None:
    assert job(examined(project, "out/x")).output_dir == str(project / "out/x")


def test_an_absolute_output_and_absolute_data_are_taken_as_they_are(project: Path) -> None:
    made = job(examined(project, str(project.parent / "out"), str(project.parent / "train.jsonl")))
    assert made.output_dir == str(project.parent / "out")
    assert made.dataset.train[0].files == (str(project.parent / "train.jsonl"),)


def test_a_mount_s_path_is_still_the_volume_s_twin(project: Path) -> None:
    made = job(examined(project, "/data/x", "../train.jsonl", "volumes={/data: store}", "compute.executor=local"))
    assert made.output_dir == str(project.parent / "ledger/volumes/store/x")


def test_without_an_executor_a_recipe_that_names_nothing_of_modal_runs_here_and_says_so(project: Path) -> None:
    plan = examined(project, "out/x").plan
    assert plan is not None
    assert plan.compute.executor == "local"
    assert "compute.executor" in {one.at for one in plan.decisions}


@pytest.mark.parametrize("of_modal", ["volumes={/data: store}", "compute.gpu=L4", "secrets=[hf]", "compute.region=us"])
def test_without_an_executor_what_is_modal_s_goes_to_modal(project: Path, of_modal: str) -> None:
    found = examined(project, "out/x", "../train.jsonl", of_modal)
    assert "V105" in {code for code, _ in said(found)}


@pytest.mark.parametrize("output", [".", "..", "/"])
def test_a_folder_that_holds_the_recipe_or_the_data_is_no_output(project: Path, output: str) -> None:
    assert said(examined(project, output)) == [("V112", "write `out/my-adapter`")]


def test_a_tilde_gets_the_path_that_it_stands_for(project: Path) -> None:
    assert said(examined(project, "~/x")) == [("V112", f"write `{Path.home() / 'x'}`")]
    assert said(examined(project, "out/x", "~/none.jsonl"))[0][1] == (
        f"write `{Path.home() / 'none.jsonl'}`: `~` means nothing here"
    )
