"""This machine, as a value: its GPUs by nvidia-smi, its cores and memory by the operating system.

No torch: it takes seconds to import, and `validate` answers in a blink.
"""

import os
import shutil

from sftrun.facts.values import Machine


def machine() -> Machine:
    """What a local run would find."""
    gpus = _gpus()
    return Machine(
        gpu_name=gpus[0][0] if gpus else None,
        gpu_count=len(gpus),
        gpu_memory_gb=gpus[0][1] if gpus else 0.0,
        has_bf16=not gpus or gpus[0][2] >= 8.0,
        cpu_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=_memory_gb(),
    )


def _gpus() -> list[tuple[str, float, float]]:
    """(name, GB, compute capability) of each NVIDIA GPU that CUDA_VISIBLE_DEVICES leaves."""
    if shutil.which("nvidia-smi") is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    import subprocess

    query = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in answer.splitlines() if line.count(", ") == 4]
    return [(name, float(mib) * 2**20 / 1e9, float(capability)) for _, _, name, mib, capability in _visible(rows)]


def _visible(rows: list[list[str]]) -> list[list[str]]:
    """nvidia-smi lists every GPU; the variable names some by index or by the beginning of their UUID."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return rows
    names = [name.strip() for name in listed.split(",")]
    return [row for name in names for row in rows if row[0] == name or (row[1].startswith(name) and len(name) > 4)]


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return 0.0
