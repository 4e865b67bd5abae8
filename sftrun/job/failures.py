"""What can end a run, in words: our own `JobFailure`, and foreign exceptions translated to one."""

import errno
import re
from collections.abc import Callable

from sftrun.contract.events import FailureKind

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow that far",
}
DENIED = {errno.EROFS: "it is read-only", errno.EACCES: "permission denied", errno.EPERM: "not permitted"}
# What libraries raise instead of an OSError when a write fails
_DISK_WORDS = (
    "No space left on device",
    "Read-only file system",
    "Permission denied",
    "File too large",
    "Disk quota exceeded",
)
_WRITE_WORDS = ("PytorchStreamWriter failed", "unexpected pos")
LESS_MEMORY = (
    "lower `trainer.per_device_train_batch_size` or `trainer.max_length`, or set `trainer.gradient_checkpointing: true`"
)


class JobFailure(Exception):
    """The run can't go on.  `message` says what and where, `help` one thing to do."""

    def __init__(self, kind: FailureKind, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.help = help

    def __reduce__(self) -> tuple[type["JobFailure"], tuple[FailureKind, str, str | None]]:
        """So that one process can raise what another one met."""
        return JobFailure, (self.kind, self.message, self.help)


class JobStopped(Exception):
    """A stop was asked for before training began: there is nothing to save."""


def translate(error: BaseException) -> JobFailure:
    """Any exception as a failure; what nobody knows keeps its type and text, and the log has the trace."""
    if isinstance(error, JobFailure):
        return error
    for judge in _JUDGES:
        if (failure := judge(error)) is not None:
            return failure
    return JobFailure(
        "error", f"{type(error).__name__}: {_first_lines(error)}", "the full trace is in the log of the run"
    )


def _out_of_memory(error: BaseException) -> JobFailure | None:
    if type(error).__name__ == "OutOfMemoryError":
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        wanted = f" (it wanted {asked[1]} more)" if asked else ""
        return JobFailure("out_of_memory", f"the GPU ran out of memory{wanted}", LESS_MEMORY)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return JobFailure("out_of_memory", "the machine ran out of memory", f"raise `compute.memory`, or {LESS_MEMORY}")
    return None


def _disk(error: BaseException) -> JobFailure | None:
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return disk_failure(error.filename, DISK_ERRORS[error.errno])
    if isinstance(error, OSError) and error.errno in DENIED:
        return disk_failure(error.filename, DENIED[error.errno])
    text = str(error)
    word = next((word for word in _DISK_WORDS if word in text), None)
    if word or (isinstance(error, RuntimeError) and any(word in text for word in _WRITE_WORDS)):
        return disk_failure(None, (word or "a write was cut short: the disk is full").lower())
    return None


def disk_failure(path: object, why: str) -> JobFailure:
    """A file that can't be written."""
    where = f"can't write {path}: {why}" if path else f"can't write the run's files: {why}"
    return JobFailure(
        "disk", where, "make room or choose another folder, then run it again: nothing that stood is lost"
    )


def _package(error: BaseException) -> JobFailure | None:
    if not isinstance(error, ImportError) and "to be installed" not in str(error):
        return None
    named = getattr(error, "name", None) or _requirement(str(error))
    if named is None:
        return JobFailure("package", _first_lines(error), "pip install 'sftrun[local]'")
    package = named.split(".")[0].replace("_", "-")
    return JobFailure(
        "package", f"the package `{package}` is missing or broken: {_first_lines(error)}", f"pip install {package}"
    )


def _requirement(text: str) -> str | None:
    named = re.search(r"pip install (?:-U |--upgrade )?[`'\"]?([A-Za-z0-9_.-]+)", text)
    named = named or re.search(r"package ([a-z0-9_.-]+) (?:seems|is) (?:to be )?not installed", text)
    return named[1] if named else None


def _network(error: BaseException) -> JobFailure | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {
        "RepositoryNotFoundError",
        "GatedRepoError",
        "RevisionNotFoundError",
        "EntryNotFoundError",
        "HfHubHTTPError",
    }:
        return JobFailure(
            "model",
            f"the Hub refused: {_first_lines(error)}",
            "check the name and the revision, and that HF_TOKEN may read it",
        )
    if names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError", "ConnectTimeout"}:
        return JobFailure(
            "model", f"the Hub can't be reached: {_first_lines(error)}", "check the network, or use a folder"
        )
    return None


def _lost_process(error: BaseException) -> JobFailure | None:
    """What gloo and NCCL say when a process at the other end is gone."""
    is_ours = type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError")
    if not is_ours and not (isinstance(error, RuntimeError) and "/gloo/" in str(error)):
        return None
    said = re.sub(r"^\[[^]]*]\s*", "", _first_lines(error)).partition(". This is")[0]
    return JobFailure(
        "error", f"another process of the run was lost: {said}", "run it again: it goes on from its last checkpoint"
    )


_JUDGES: tuple[Callable[[BaseException], JobFailure | None], ...] = (
    _out_of_memory,
    _disk,
    _package,
    _lost_process,
    _network,
)


def _first_lines(error: BaseException, lines: int = 3) -> str:
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:lines])
    return text[:600]
