"""Every Python that is started runs isolated: a file that lies in the working folder is not ours to import."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from sftrun.job.supervise import answerer, examiner, process
from sftrun.run import local
from tests.guards.source import nodes

MODULES = (
    "sftrun.job.supervise.entry",
    "sftrun.job.supervise.launch",
    "sftrun.job.train.worker",
    "sftrun.job.train.answer",
    "sftrun.job.ask.evaluator",
    "sftrun.job.prepare.preparing",
)


def test_an_interpreter_is_named_in_one_place() -> None:
    named = {
        file
        for file, node in nodes()
        if isinstance(node, ast.Attribute) and node.attr == "executable" and isinstance(node.value, ast.Name)
    }
    assert named == {"sftrun/job/supervise/process.py"}


def test_all_children_are_tried_here() -> None:
    started = {
        node.args[0].value
        for _, node in nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isolated"
        and isinstance(node.args[0], ast.Constant)
    }
    assert started == set(MODULES)
    assert "-P" in answerer.ANSWERER
    assert "-P" in examiner.EVALUATOR
    assert "-P" in local.SUPERVISOR


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_child_imports_nothing_from_the_working_folder(module: str, tmp_path: Path) -> None:
    for name in ("pydantic", "datasets", "torch", "json", "ctypes", "sftrun"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    env = os.environ | {"PYTHONPATH": process.python_path()}
    subprocess.run(
        [*process.isolated(module), "none.json"], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert not (tmp_path / "ran").exists()


def test_a_path_that_would_mean_the_working_folder_is_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "lib", "/abs", ""]))
    here, *rest = reversed(process.python_path().split(os.pathsep))
    assert (Path(here) / "sftrun" / "__init__.py").exists()
    assert rest == ["/abs", str(Path.cwd() / "lib")]
