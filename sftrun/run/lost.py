"""A run whose supervisor is gone without a word: what can still be found out about why."""

import os
import shutil

from sftrun.contract.executors import executor
from sftrun.disk import outside
from sftrun.run.ledger import RunFolder
from sftrun.run.state import RunState

_FULL_BYTES = 1 << 20


def explain_loss(folder: RunFolder, state: RunState) -> str:
    """One line: the likeliest cause, and how far the run had come."""
    return f"run {folder.id} was lost at step {state.step}: {_cause(folder)}"


def _cause(folder: RunFolder) -> str:
    place = executor(folder.manifest().executor)
    if place.is_elsewhere:
        return f"nothing of it has begun on {place.title}"
    if shutil.disk_usage(folder.path).free < _FULL_BYTES:
        return f"the disk of `{folder.path}` is full"
    if not os.access(folder.path, os.W_OK):
        return f"`{folder.path}` can't be written"
    said = _last_words(folder)
    return f"its supervisor ended with: {said}" if said else "its supervisor was killed, or this machine restarted"


def _last_words(folder: RunFolder) -> str:
    try:
        lines = outside.read_bytes(folder.path / "supervisor.log").decode(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
