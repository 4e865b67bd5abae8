"""`doctor` on machines with a GPU: an nvidia-smi that is a real program, and a torch that is a real package's file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sftrun.facts import locks
from sftrun.facts.gpus import drivers

GPU = "NVIDIA H100 80GB HBM3"
SMI = """#!/bin/sh
case "$1" in
  *compute_cap*) {rich} ;;
  *) {plain} ;;
esac
"""


def doctor(folder: Path, *, driver: str, cuda: str | None = "'13.0'", knows_compute: bool = True) -> dict[str, str]:
    """The finding about the driver, with what it says to do."""
    rich = f'echo "{GPU}, 81559, 9.0"' if knows_compute else 'echo "Field compute_cap is not valid" >&2; exit 2'
    return _run(folder, SMI.format(rich=rich, plain=f'echo "{GPU}, {driver}, 81559 MiB"'), cuda)["driver"]


def _run(folder: Path, smi: str, cuda: str | None = "'13.0'") -> dict[str, dict[str, str]]:
    (folder / "bin").mkdir()
    program = folder / "bin" / "nvidia-smi"
    program.write_text(smi)
    program.chmod(0o755)
    packages = folder / "packages"
    if cuda is not None:
        (packages / "torch").mkdir(parents=True)
        (packages / "torch" / "__init__.py").write_text("raise RuntimeError('doctor imports no torch')")
        (packages / "torch" / "version.py").write_text(f"cuda: Optional[str] = {cuda}\n")
    path = os.pathsep.join((str(packages), os.environ.get("PYTHONPATH", "")))
    env = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": path,
        "SFTRUN_HOME": str(folder),
    }
    env.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "sftrun.cli.main", "doctor", "--format", "json"]
    done = subprocess.run(command, env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_a_driver_that_is_new_enough_is_named(tmp_path: Path) -> None:
    found = doctor(tmp_path, driver="580.95.05")
    assert (found["ok"], found["said"]) == (True, "580.95.05, new enough for torch's CUDA 13.0")


@pytest.mark.parametrize(("driver", "cuda", "oldest"), [("570.86.15", "13.0", 580), ("470.256.02", "12.8", 525)])
def test_a_driver_that_is_too_old_comes_with_the_command(tmp_path: Path, driver: str, cuda: str, oldest: int) -> None:
    found = doctor(tmp_path, driver=driver, cuda=f"'{cuda}'", knows_compute=False)
    assert not found["ok"]
    assert found["said"] == f"{driver} is too old for torch's CUDA {cuda}, which needs {oldest} or newer"
    assert found["mend"] == f"sudo apt-get install nvidia-driver-{oldest} && sudo reboot"


def test_a_cpu_build_of_torch_beside_a_gpu_is_said(tmp_path: Path) -> None:
    found = doctor(tmp_path, driver="580.95.05", cuda="None")
    assert not found["ok"]
    assert f"built for the CPU and leaves {GPU}, 81559 MiB alone" in found["said"]
    assert found["mend"] == f"pip install --force-reinstall torch=={locks.read('trl')['torch']}"


def test_a_driver_that_does_not_answer_is_quoted(tmp_path: Path) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    found = _run(tmp_path, f'#!/bin/sh\necho "{said}"\nexit 9\n')
    assert found["driver"]["said"] == f"nvidia-smi: {said}"
    assert not found["driver"]["ok"]


def test_the_cuda_of_the_locked_torch_is_known() -> None:
    cuda = drivers.LOCKED_CUDA[locks.read("trl")["torch"]]
    assert drivers.oldest_driver(cuda) is not None
