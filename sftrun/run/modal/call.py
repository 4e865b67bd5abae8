"""A run's calls on Modal: what was started, how it stands, and how to reach it from another day or terminal.

`remote.json` in the run's folder is all that is needed: ids, the board, the place of the record on its Volume.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import grpclib.exceptions
import modal
from modal.config import config
from modal.types import InputInfo, InputStatus
from pydantic import Field

from sftrun.disk import outside
from sftrun.errors import RemoteError
from sftrun.run.ledger import RunFolder
from sftrun.run.modal.board import call_key, remote_key
from sftrun.run.modal.handover import JobCrashed
from sftrun.run.modal.wire_errors import redacted, translated
from sftrun.strict import Strict
from sftrun.units import LAST_MOMENT

FILE = "remote.json"
BOARD = "sftrun-board"
Standing = Literal["pending", "ended", "unknown"]
End = Literal["returned", "cancelled", "timeout", "never_began", "failed", "expired", "forgotten"]
# what a wire that is cut can raise; the last ones leak out of the client unwrapped
BROKEN = (
    modal.exception.ServiceError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    OSError,
    grpclib.exceptions.StreamTerminatedError,
    grpclib.exceptions.GRPCError,
)
TROUBLE = (modal.exception.Error, *BROKEN)
_ENDS: dict[InputStatus, End] = {
    InputStatus.SUCCESS: "returned",
    InputStatus.FAILURE: "failed",
    InputStatus.TERMINATED: "cancelled",
    InputStatus.TIMEOUT: "timeout",
    InputStatus.INIT_FAILURE: "never_began",
}


WaitedFor = Literal["image", "prepare", "queue", "container"]
ModalId = Annotated[str, Field(pattern=r"^([a-z]{2}-[A-Za-z0-9]+)?$")]


class Remote(Strict):
    """remote.json: how to find the run on Modal.

    `since` is the last event of earlier attempts, `waits` how long (seconds) what the job can't see has taken.
    """

    app_id: ModalId
    call_id: ModalId
    function_id: ModalId = ""
    dashboard: str
    environment: str = ""
    volume: str
    record: str
    started: Annotated[float, Field(ge=0, le=LAST_MOMENT)]
    user: str
    since: int = 0
    preparing: bool = False
    settled: bool = False  # it has ended and all of it was read
    said: str | None = None  # Modal's own word where the call ended with an exception
    waits: dict[WaitedFor, float] = {}


@dataclass(frozen=True)
class Answer:
    """How a call stands; `said` is Modal's own word, `value` what the function returned."""

    standing: Standing
    end: End | None = None
    said: str = ""
    value: object = None
    error: BaseException | None = None


PENDING = Answer("pending")


def write(folder: RunFolder, remote: Remote) -> None:
    folder.write({FILE: remote.model_dump_json(indent=2) + "\n"})


def read(folder: RunFolder) -> Remote | None:
    """None where nothing was ever started on Modal."""
    if not (folder.path / FILE).exists():
        return None
    known = folder.load(FILE, Remote)
    if not known.settled:
        _must_be_here(folder.id, known)
    return known


def environment() -> str:
    """The environment of Modal's in which this command's names live; "" for the workspace's own choice."""
    return str(config.get("environment") or "")


def _must_be_here(run_id: str, known: Remote) -> None:
    """Names of Dict and Volume mean others in another environment: what is read there would be taken for the run's."""
    there, here = known.environment or _shown_environment(known), environment()
    if (there and here and there != here) or (known.environment and not here):
        raise RemoteError(
            f"run {run_id} is in Modal's environment `{there}`, this command asks `{here or 'the default one'}`",
            help=f"set MODAL_ENVIRONMENT={there}",
        )


def _shown_environment(known: Remote) -> str:
    """As its page is named, `https://modal.com/apps/WORKSPACE/ENVIRONMENT/APP`; "" where it is named otherwise."""
    parts = known.dashboard.split("/")
    return parts[5] if len(parts) == 7 and parts[3] == "apps" else ""


def told(folder: RunFolder) -> Remote | None:
    """What the call itself says on the board, where the command that spawned it was killed before it could note it."""
    try:
        found = on_board(folder.id)
    except TROUBLE:
        return None
    if found is None:
        return None
    remote = found.model_copy(update={"since": 0})
    write(folder, remote)
    return remote


def on_board(run_id: str) -> Remote | None:
    """What a call of that run has put on the board; None for none, and for what is no such word."""
    text = board().get(remote_key(run_id))
    try:
        return outside.parse_model(Remote, text) if text else None
    except outside.Damaged:
        return None


def ask(call_id: str) -> Answer:
    """Whether a call still owes its end, and if not, how it ended.

    What was raised inside the job and what broke on the way here may be of the same class: the call graph decides.
    """
    call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(call_id)
    try:
        return Answer("ended", "returned", value=call.get(timeout=0))
    except TimeoutError:  # the builtin: nothing yet
        return PENDING
    except modal.exception.OutputExpiredError as error:
        return Answer("ended", "expired", str(error), error=error)
    except (modal.exception.AuthError, modal.exception.PermissionDeniedError):
        raise
    except modal.exception.NotFoundError as error:  # before its base: a final refusal is no broken wire
        return Answer("ended", "forgotten", redacted(str(error)), error=error)
    except BROKEN as error:
        return _judged(call, call_id, error)
    except KeyboardInterrupt as error:
        return _judged(call, call_id, error)
    except BaseException as error:
        return _judged(call, call_id, error, otherwise=_ended(_without_a_graph(error), error))


def task_of(call_id: str) -> str | None:
    """The id of the container that works on a call; None while there is none."""
    found = _input(modal.FunctionCall.from_id(call_id), call_id)
    return (found.task_id or None) if found else None


def followed(folder: RunFolder, remote: Remote) -> Remote:
    """The call that trains, once the board names it: after the preparing call, or where two had been started."""
    call_id = board().get(call_key(folder.id))
    if not call_id or call_id == remote.call_id:
        return remote
    moved = remote.model_copy(update={"call_id": call_id, "preparing": False})
    write(folder, moved)
    return moved


@cache
def board() -> "modal.Dict":
    """The Dict of all runs' boards; one handle, so that a look costs one call."""
    return modal.Dict.from_name(BOARD, create_if_missing=True)


@cache
def volume(name: str) -> modal.Volume:
    """A Volume by name as it is, v1 or v2; one that is missing is made, as v2."""
    found: modal.Volume = modal.Volume.from_name(name)
    with translated():
        try:
            found.hydrate()
        except modal.exception.NotFoundError:
            return modal.Volume.from_name(name, create_if_missing=True, version=2)
    return found


def volumes(mounts: Mapping[str, str]) -> dict[str, modal.Volume]:
    """Mount path -> Volume."""
    return {mount: volume(name) for mount, name in mounts.items()}


def _without_a_graph(error: BaseException) -> End:
    """What the graph would say, which may be late: of a call that was cancelled Modal says nothing else."""
    is_wordless = isinstance(error, modal.exception.RemoteError) and not str(error).strip()
    return "cancelled" if is_wordless else "failed"


def _judged(
    call: "modal.FunctionCall[Any]", call_id: str, error: BaseException, otherwise: Answer | None = None
) -> Answer:
    otherwise = otherwise or Answer("unknown", error=error)
    try:
        found = _input(call, call_id)
    except (*TROUBLE, ValueError):
        return otherwise
    end = _ENDS.get(found.status) if found else None
    return _ended(end, error) if end else otherwise


def _ended(end: End, error: BaseException) -> Answer:
    name = "" if isinstance(error, modal.exception.RemoteError | JobCrashed) else f"{type(error).__name__}: "
    return Answer("ended", end, redacted(f"{name}{error}".strip().removesuffix(":")), error=error)


def _input(call: "modal.FunctionCall[Any]", call_id: str) -> InputInfo | None:
    return next((found for found in _all(call.get_call_graph()) if found.function_call_id == call_id), None)


def _all(graph: list[InputInfo]) -> Iterator[InputInfo]:
    for found in graph:
        yield found
        yield from _all(found.children)
