"""A run's calls on Modal: what was started, how it stands, and how to reach it from another day or terminal.

`remote.json` in the run's folder is all that is needed: ids, the board, the place of the record on its Volume.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

import modal

from sftrun.run.board import next_key
from sftrun.run.ledger import RunFolder
from sftrun.strict import Strict

FILE = "remote.json"
BOARD = "sftrun-board"
Standing = Literal["pending", "ended", "unknown"]
_UNREACHABLE = (modal.exception.ServiceError, modal.exception.ConnectionError, modal.exception.InternalError, OSError)


class Remote(Strict):
    """remote.json: how to find the run on Modal."""

    app_id: str
    call_id: str
    dashboard: str
    volume: str
    record: str
    started: float
    user: str
    preparing: bool = False
    settled: bool = False  # the Volume's record has been read after the end
    said: str | None = None  # Modal's own word where the call ended with an exception


def write(folder: RunFolder, remote: Remote) -> None:
    folder.write({FILE: remote.model_dump_json(indent=2) + "\n"})


def read(folder: RunFolder) -> Remote | None:
    """None where nothing was ever started on Modal."""
    path = folder.path / FILE
    return Remote.model_validate_json(path.read_text()) if path.exists() else None


def standing(remote: Remote) -> tuple[Standing, str | None]:
    """Whether the call still owes its end, and if not, what it ended with (None: its own word in the events)."""
    call: modal.FunctionCall[int] = modal.FunctionCall.from_id(remote.call_id)
    try:
        call.get(timeout=0)
    except TimeoutError:
        return "pending", None
    except modal.exception.OutputExpiredError:
        return "ended", None
    except _UNREACHABLE:
        return "unknown", None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return "ended", f"{type(error).__name__}: {error}".rstrip(": ")
    return "ended", None


def followed(folder: RunFolder, remote: Remote, run_id: str) -> Remote:
    """After the preparing call: the call that trains, as soon as the board names it."""
    if not remote.preparing:
        return remote
    call_id = board().get(next_key(run_id))
    if not call_id:
        return remote
    moved = remote.model_copy(update={"call_id": call_id, "preparing": False})
    write(folder, moved)
    return moved


@cache
def board() -> "modal.Dict":
    """The Dict of all runs' boards; one handle, so that a look costs one call."""
    return modal.Dict.from_name(BOARD, create_if_missing=True)


def volume(name: str) -> modal.Volume:
    """A Volume by name, made (v2) when missing."""
    return modal.Volume.from_name(name, create_if_missing=True, version=2)


def volumes(mounts: Mapping[str, str]) -> dict[str, modal.Volume]:
    """Mount path -> Volume."""
    return {mount: volume(name) for mount, name in mounts.items()}
