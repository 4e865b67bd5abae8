"""What a fresh interpreter loads for each command: the difference between a blink and ten seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ML = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "unsloth"}
PROBE = """
import json, sys
from sftrun.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write("\\n" + json.dumps({"code": code, "loaded": sorted({m.partition(".")[0] for m in sys.modules})}))
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


def loaded(cwd: Path, *arguments: str) -> tuple[int, set[str]]:
    """Exit code, and the packages that one command line has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stderr.splitlines()[-1])
    return said["code"], set(said["loaded"])


def test_help_loads_click_and_little_else(tmp_path: Path) -> None:
    code, packages = loaded(tmp_path, "--help")
    assert code == 0
    assert not packages & (ML | {"pydantic", "rich", "ruamel", "modal", "asyncio", "traceback", "subprocess"})


def test_validate_loads_no_ml_library_and_no_modal(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    code, packages = loaded(tmp_path, "validate", "r.yaml", "--offline")
    assert code == 0
    assert not packages & (ML | {"modal"})


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
