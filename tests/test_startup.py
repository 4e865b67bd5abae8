"""What a fresh interpreter loads for each command: the difference between a blink and ten seconds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sftrun import builtin

ML = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "unsloth"}
PROBE = """
import dataclasses, json, sys
from sftrun.cli.main import main
code = main(sys.argv[1:])
ours = [kind for name, module in sys.modules.items() if name.startswith("sftrun.") for kind in vars(module).values()]
said = {
    "code": code,
    "packages": sorted({name.partition(".")[0] for name in sys.modules}),
    "modules": sorted(sys.modules),
    "dataclasses": sorted({kind.__qualname__ for kind in ours if dataclasses.is_dataclass(kind)}),
}
sys.stderr.write("\\n" + json.dumps(said))
"""
RECIPE = """\
version: 1
name: r
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}
lora: {}
dataset: {train: {hub: some/data, num_examples: 1000, mean_tokens: 100}}
trainer: {max_steps: 10}
compute: {executor: local, gpu: none}
volumes: {/out: results}
output: {dir: /out/r}
"""


RENTED = RECIPE.replace("{executor: local, gpu: none}", "{gpu: H200}")
READ = RECIPE.replace("Qwen/Qwen2.5-0.5B-Instruct", "builtin:tiny").replace(
    "{hub: some/data, num_examples: 1000, mean_tokens: 100}", "rows.jsonl"
)
# reading rows, starting processes, showing tables: nothing that a recipe without data and a right one asks for
DEAR = {"huggingface_hub", "httpx", "rich", "tokenizers", "multiprocessing", "concurrent", "subprocess", "tomllib"}
PLANNING = {"sftrun.plan.build", "sftrun.plan.estimate.total", "sftrun.plan.types", "sftrun.contract.jobspec"}
READING = {"sftrun.facts.data.count", "sftrun.rows.raw.read", "sftrun.rows.labels", "sftrun.rows.tokenizer"}


def loaded(cwd: Path, *arguments: str) -> tuple[int, set[str]]:
    """Exit code, and the packages that one command line has loaded."""
    said = probed(cwd, *arguments)
    return said["code"], set(said["packages"])


def probed(cwd: Path, *arguments: str) -> dict[str, Any]:
    """All that a fresh interpreter says of one command line."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    said: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return said


def test_help_loads_click_and_little_else(tmp_path: Path) -> None:
    code, packages = loaded(tmp_path, "--help")
    assert code == 0
    assert not packages & (ML | {"pydantic", "rich", "ruamel", "modal", "asyncio", "traceback", "subprocess"})


def test_validate_loads_no_ml_library_and_no_modal(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    code, packages = loaded(tmp_path, "validate", "r.yaml", "--offline")
    assert code == 0
    assert not packages & (ML | {"modal"})


def test_validate_loads_no_planning_for_a_recipe_that_rents_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    said = probed(tmp_path, "validate", "r.yaml", "--offline")
    assert said["code"] == 0
    assert not set(said["modules"]) & (PLANNING | READING)
    assert not set(said["packages"]) & DEAR


def test_validate_loads_no_reading_of_rows_for_a_recipe_that_rents_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RENTED)
    said = probed(tmp_path, "validate", "r.yaml", "--offline")
    assert said["code"] == 0
    assert set(said["modules"]) >= PLANNING
    assert not set(said["modules"]) & READING
    assert not set(said["packages"]) & DEAR


@pytest.mark.parametrize("recipe", [RECIPE, RENTED])
def test_validate_defines_no_dataclass(tmp_path: Path, recipe: str) -> None:
    # each compiles six methods when its module is loaded, in 0.8 ms; a named tuple takes a tenth
    (tmp_path / "r.yaml").write_text(recipe)
    assert probed(tmp_path, "validate", "r.yaml", "--offline")["dataclasses"] == []


def test_a_second_look_at_data_loads_no_tokenizer_and_no_processes(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(READ)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert "tokenizers" in loaded(tmp_path, "validate", "r.yaml")[1]
    code, packages = loaded(tmp_path, "validate", "r.yaml")
    assert code == 0
    assert not packages & (ML | {"tokenizers", "multiprocessing", "concurrent"})


def test_a_model_in_the_hub_s_cache_is_read_without_the_hub_s_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, kept = "a" * 40, tmp_path / "hub" / "models--me--mine"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    shutil.copytree(builtin.path("builtin:tiny"), kept / "snapshots" / commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "r.yaml").write_text(RENTED.replace("Qwen/Qwen2.5-0.5B-Instruct", "me/mine"))
    code, packages = loaded(tmp_path, "validate", "r.yaml")
    assert code == 0
    assert not packages & {"huggingface_hub", "httpx"}


def test_estimate_cost_loads_no_ml_library_and_no_modal(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RENTED)
    code, packages = loaded(tmp_path, "estimate-cost", "r.yaml", "--offline")
    assert code == 0
    assert not packages & (ML | {"modal", "tokenizers", "multiprocessing"})


def test_runs_loads_no_pydantic(tmp_path: Path) -> None:
    code, packages = loaded(tmp_path, "runs", "--format", "json")
    assert code == 0
    assert not packages & (ML | {"pydantic", "rich", "ruamel", "modal"})


@pytest.mark.parametrize("command", ["apply", "show", "logs", "attach", "cancel", "generate", "pull", "doctor"])
def test_no_command_loads_torch_or_modal_to_say_its_help(tmp_path: Path, command: str) -> None:
    code, packages = loaded(tmp_path, command, "--help")
    assert code == 0
    assert not packages & (ML | {"modal"})


def test_a_local_dry_run_loads_neither_torch_nor_modal(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    code, packages = loaded(tmp_path, "apply", "r.yaml", "--dry-run")
    assert code == 0
    assert not packages & (ML | {"modal"})


SHUT = """
import os, sys
with open(os.environ["SEEN"], "a") as seen:
    print(sys.argv, file=seen)
raise ImportError("no modal here")
"""


@pytest.mark.slow
def test_a_whole_run_on_this_machine_imports_modal_nowhere(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "modal.py").write_text(SHUT)
    (tmp_path / "r.yaml").write_text(READ.replace("{max_steps: 10}", "{max_steps: 1, max_length: 32}"))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 8)
    path = os.pathsep.join([str(tmp_path / "shut"), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "SEEN": str(tmp_path / "seen")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)

    # client, supervisor, worker and whatever they start
    applied = run("-m", "sftrun", "apply", "r.yaml", "--format", "json")
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout.splitlines()[-1])["kind"] == "finished"
    assert [run("-m", "sftrun", *words).returncode for words in (["runs"], ["show", "r"], ["logs", "r"])] == [0, 0, 0]
    assert not (tmp_path / "seen").exists()
    assert "no modal here" in run("-c", "import modal").stderr
    assert (tmp_path / "seen").exists()
