"""The folder that a run ends in, as the supervisor knows it."""

import os
from pathlib import Path

from sftrun.contract import output_marker
from sftrun.contract.events import Finished
from sftrun.contract.jobspec import JobSpec


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
    marker = output_marker.read(spec.output_dir)
    if marker is None or marker.run_id != spec.run_id:
        return None
    return Finished(
        step=marker.step,
        saved_step=marker.saved_step,
        train_loss=marker.train_loss,
        output_dir=spec.output_dir,
        memory_gb=marker.memory_gb,
    )
