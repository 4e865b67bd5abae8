"""The machine's GPUs, by an nvidia-smi that is a real program."""

from pathlib import Path

import pytest

from sftrun.facts import machine

SMI = """#!/bin/sh
echo "0, GPU-1f00aa, NVIDIA L4, 23034, 8.9"
echo "1, GPU-2a00bb, NVIDIA H100 80GB HBM3, 81559, 9.0"
echo "2, GPU-2c00cc, NVIDIA H100 80GB HBM3, 81559, 9.0"
"""


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (None, ["NVIDIA L4", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"]),
        ("1", ["NVIDIA H100 80GB HBM3"]),
        ("2,0", ["NVIDIA H100 80GB HBM3", "NVIDIA L4"]),
        ("GPU-1f", ["NVIDIA L4"]),
        ("", []),
        ("-1", []),
    ],
)
def test_gpus_are_those_that_the_variable_leaves(
    listed: str | None, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if listed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    found = machine.machine()
    assert found.gpu_count == len(names)
    assert found.gpu_name == (names[0] if names else None)
    assert [name for name, *_ in machine._gpus()] == names
