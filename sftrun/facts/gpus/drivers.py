"""The GPU's driver, and whether it is new enough for torch: nvidia-smi and two files are asked, nothing is imported.

Old drivers know fewer fields than `machine` asks for, so these are the three that every one knows.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# NVIDIA, CUDA compatibility, table 1 (looked at on 2026-11-25): the oldest driver of a major version of CUDA
OLDEST: Final = {11: 450, 12: 525, 13: 580}
# what the Linux wheel of a locked torch asks for (`Requires-Dist: cuda-toolkit==13.0.3` of 2.13.0)
LOCKED_CUDA: Final = {"2.13.0": "13.0"}
_QUERY: Final = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says: a version with its GPUs, or the `fault` that keeps it from saying."""

    version: str = ""
    gpus: tuple[str, ...] = ()
    fault: str = ""

    @property
    def major(self) -> int:
        number = self.version.partition(".")[0]
        return int(number) if number.isdigit() else 0


def driver() -> Driver | None:
    """The driver of this machine; None where there is no nvidia-smi."""
    if shutil.which(_QUERY[0]) is None:
        return None
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Driver(fault=f"nvidia-smi gives no answer ({type(error).__name__})")
    rows = [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 2]
    if done.returncode or not rows:
        said = " ".join((done.stdout + done.stderr).split()) or f"exit status {done.returncode}"
        return Driver(fault=f"nvidia-smi: {said[:200]}")
    return Driver(rows[0][1], tuple(f"{name}, {memory}" for name, _, memory in rows))


def torch_cuda() -> str | None:
    """The CUDA that the installed torch was built for: `13.0`; empty for a CPU build, None without torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b.*=\s*(?:'([\d.]+)'|None)", text, re.MULTILINE)
    return None if found is None else found[1] or ""


def oldest_driver(cuda: str) -> int | None:
    """The oldest driver that runs a version of CUDA; None for a version that is not known here."""
    return OLDEST.get(int(cuda.partition(".")[0]))
