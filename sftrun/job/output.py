"""The folder that a run ends in, as the supervisor knows it: `sftrun.json` names the run whose adapter stands there."""

import json
import os
from pathlib import Path
from typing import TypedDict

from sftrun.contract.choices import DataFormat
from sftrun.contract.events import Finished
from sftrun.contract.jobspec import JobSpec

MARKER = "sftrun.json"


class OutputMarker(TypedDict):
    """What stands in `sftrun.json`."""

    version: int
    run_id: str
    name: str
    base_model: str
    revision: str | None
    adapter: bool
    format: DataFormat
    step: int
    train_loss: float
    memory_gb: float


def read_marker(folder: str | Path) -> OutputMarker | None:
    """The marker, or None where no run of ours has ended."""
    try:
        found: OutputMarker = json.loads((Path(folder) / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "run_id" in found else None


def require_writable(spec: JobSpec) -> None:
    """Try the folders that the run will write to, before it costs anything; raises OSError with the folder's name."""
    for folder in (Path(spec.checkpoints_dir), Path(spec.output_dir).parent):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".sftrun-probe-{os.getpid()}"
        try:
            probe.write_bytes(b"")
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(folder)) from None
        probe.unlink()


def finished_before(spec: JobSpec) -> Finished | None:
    """The end of this very run, if its output stands already."""
    marker = read_marker(spec.output_dir)
    if marker is None or marker["run_id"] != spec.run_id:
        return None
    return Finished(
        step=marker["step"],
        train_loss=marker["train_loss"],
        output_dir=spec.output_dir,
        memory_gb=marker["memory_gb"],
    )
