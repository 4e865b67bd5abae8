"""What the preparing container brings from the Hub, so that no GPU waits for it."""

import time
from pathlib import Path

from sftrun.contract.jobspec import JobSpec


def fetch(job: JobSpec) -> None:
    """The model at its commit and the Hub's data sets into the cache Volume (HF_HOME lies on it)."""
    from huggingface_hub import snapshot_download

    if not job.model.name_or_path.startswith(("builtin:", "/")):
        snapshot_download(
            job.model.name_or_path, revision=job.model.revision, ignore_patterns=["*.bin", "*.pth", "*.gguf"]
        )
    for source in (job.dataset.train, job.dataset.eval):
        if source is not None and source.hub is not None:
            snapshot_download(source.hub, revision=source.revision, repo_type="dataset")


def mark(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{time.time():.0f}\n")


def refusal(error: Exception, job: JobSpec) -> str:
    """Why something could not be fetched, in one sentence."""
    from sftrun.job.failures import translate

    if "GatedRepoError" in _kinds(error):
        name = job.model.name_or_path
        return (
            f"the model `{name}` is gated: accept its terms at huggingface.co/{name}, "
            "and name a Secret with your HF_TOKEN under `secrets`"
        )
    failure = translate(error)
    return failure.message + (f" ({failure.help})" if failure.help else "")


def is_final(error: Exception) -> bool:
    """Whether another try would hear the same: the Hub has answered."""
    return bool(_kinds(error) & {"GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError"})


def _kinds(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
