"""Every shipped recipe is loaded and planned; the systems that they describe train, on the model that ships."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sftrun.cli.examine import examine_file
from tests import patience

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
CENSUS_DATA = ("dataset.train.path=data/census-train-sample.jsonl", "dataset.eval.path=data/census-val-sample.jsonl")
A_FEW_STEPS = (
    "trainer.num_train_epochs=null",
    "trainer.max_steps=2",
    "trainer.max_length=256",
    "trainer.logging_steps=1",
)
HERE = ("model.name_or_path=builtin:tiny", "compute.executor=local", "samples.max_new_tokens=8")


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_shipped_recipe_has_no_error(file: Path) -> None:
    examined = examine_file(file)
    assert [found for found in examined.diagnostics if found.severity == "error"] == []
    assert examined.plan is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("qwen2.5-0.5b-inframind", ()),
        ("phi3-census", CENSUS_DATA),
        ("phi3-census-trial", CENSUS_DATA),
    ],
)
def test_a_shipped_system_trains_by_set_alone(name: str, more: tuple[str, ...], tmp_path: Path) -> None:
    overrides = (*HERE, *A_FEW_STEPS, *more)
    command = [sys.executable, "-m", "sftrun.cli.main", "apply", f"recipes/{name}.yaml", "--yes", "--format", "json"]
    for override in overrides:
        command += ["--set", override]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=patience.SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2]
    assert events[-1]["kind"] == "finished"
    assert not [event for event in events if event["kind"] == "disobeyed"]
    assert (Path(events[-1]["output_dir"]) / "adapter_model.safetensors").exists()
