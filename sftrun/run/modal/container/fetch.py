"""What the preparing container does, so that no GPU waits for it: it fetches from the Hub, tokenises and packs."""

import time
import traceback
from pathlib import Path

from sftrun.contract.events import Failed
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import files
from sftrun.job.failures import JobFailure, translate
from sftrun.job.supervise import preparer

# of what can stop the preparation, what the GPU's container would meet as well
_FINAL = ("data", "model")


def fetch(job: JobSpec) -> None:
    """The model at its commit and the Hub's data sets into the cache Volume (HF_HOME lies on it)."""
    from huggingface_hub import snapshot_download

    if not job.model.name_or_path.startswith(("builtin:", "/")):
        snapshot_download(
            job.model.name_or_path, revision=job.model.revision, ignore_patterns=["*.bin", "*.pth", "*.gguf"]
        )
    for source in job.dataset.sources:
        if source.hub is not None:
            snapshot_download(source.hub, revision=source.revision, repo_type="dataset")


def tokenise(job: JobSpec) -> None:
    """The rows, ready to be trained on, into the cache Volume; raises what no other container could help.

    What else goes wrong is for the log: the job makes the data itself where none stand.
    """
    try:
        preparer.follow(preparer.start(job))
    except JobFailure as failure:
        if failure.kind in _FINAL:
            raise
        traceback.print_exc()


def mark(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, f"{time.time():.0f}\n")


def refusal(error: Exception, job: JobSpec) -> Failed:
    """Why the run can't begin, as its last word."""
    if isinstance(error, JobFailure):
        return Failed(failure=error.kind, stage="data", message=error.message, help=error.help)
    if "GatedRepoError" in _kinds(error):
        name = job.model.name_or_path
        message = f"the model `{name}` is gated: accept its terms at huggingface.co/{name}"
        return Failed(
            failure="model", stage="start", message=f"{message}, and name a Secret with your HF_TOKEN under `secrets`"
        )
    failure = translate(error)
    message = failure.message + (f" ({failure.help})" if failure.help else "")
    return Failed(failure="model", stage="start", message=message)


def is_final(error: Exception) -> bool:
    """Whether another try would hear the same: the Hub has answered, or the data have."""
    return bool(_kinds(error) & {"GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError", "JobFailure"})


def _kinds(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
