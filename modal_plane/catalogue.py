"""Every fault that has a name.  `plane.inject("preemption")`, `plane.inject("unavailable", rpc="FunctionMap")`.

Faults of the border are entries of `plane.faults`; the others act on the containers that work at the moment, or
change a setting so that the next run meets them.
"""

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from grpclib import Status
from modal_proto import api_pb2

from .faults import Fault, HttpFault

if TYPE_CHECKING:
    from .plane import Plane

Result = api_pb2.GenericResult


@dataclass(frozen=True)
class Border:
    """An RPC that answers with this status; by default once more than the client retries."""

    rpc: str
    status: Status
    message: str
    times: int | None = None
    after: bool = False

    def __call__(self, plane: "Plane", **options: Any) -> None:
        known = {
            "rpc": self.rpc,
            "status": self.status,
            "message": self.message,
            "times": self.times,
            "after": self.after,
        }
        plane.faults.append(Fault(**{"side": "client", **known, **options}))


def inject(plane: "Plane", name: str, **options: Any) -> None:
    if name not in CATALOGUE:
        raise KeyError(f"no fault is named {name!r}; there are: {', '.join(sorted(CATALOGUE))}")
    CATALOGUE[name](plane, **options)


def _preemption(plane: "Plane", **options: Any) -> None:
    plane.preempt(**options)


def _out_of_memory(plane: "Plane", **options: Any) -> None:
    plane.out_of_memory(**options)


def _exit_code(plane: "Plane", **options: Any) -> None:
    plane.kill_containers(**options)


def _function_timeout(plane: "Plane", **options: Any) -> None:
    plane.kill_containers(why="timed out", **options)


def _container_silent(plane: "Plane", **options: Any) -> None:
    plane.kill_containers(why="silent", **options)


def _cancelled(plane: "Plane", call_id: str = "", terminate: bool = False) -> None:
    calls = [call for call in plane.world.calls.values() if not call.is_done and call_id in ("", call.id)]
    for call in calls:
        plane.thread.run(partial(plane.scheduler.cancel, call, terminate=terminate))


def _terminated(plane: "Plane", call_id: str = "") -> None:
    _cancelled(plane, call_id, terminate=True)


def _app_stopped(plane: "Plane", app_id: str = "") -> None:
    apps = [app for app in plane.world.apps.values() if not app.is_stopped and app_id in ("", app.id)]
    for app in apps:
        plane.thread.run(partial(plane.scheduler.stop_app, app))


def _client_gone(plane: "Plane") -> None:
    """As if the heartbeats of clients had stopped: ephemeral Apps end, detached ones do not."""

    def forget() -> None:
        for app in plane.world.apps.values():
            app.seen_at = -math.inf

    plane.thread.run(forget)


def _answer_with(plane: "Plane", call_id: str, result: Result) -> None:
    def answer() -> None:
        for task in plane.working(call_id):
            entry = task.holding
            assert entry is not None
            plane.scheduler.complete(entry, result, api_pb2.DATA_FORMAT_PICKLE, task)
            plane.scheduler.end(task, "answered for")

    plane.thread.run(answer)


def _user_exception(plane: "Plane", call_id: str = "", error: Exception | None = None) -> None:
    error = error or RuntimeError("injected")
    status = Result.GENERIC_STATUS_FAILURE
    _answer_with(
        plane, call_id, Result(status=status, exception=repr(error), data=pickle.dumps(error), traceback=repr(error))
    )


def _unknown_exception(plane: "Plane", call_id: str = "") -> None:
    data = b"cnot_installed_here\nStrange\n."  # a pickle of a class that no client has
    _answer_with(plane, call_id, Result(status=Result.GENERIC_STATUS_FAILURE, exception="Strange()", data=data))


def _import_error(plane: "Plane", call_id: str = "", module: str = "flash_attn") -> None:
    _user_exception(plane, call_id, ModuleNotFoundError(f"No module named {module!r}", name=module))


def _result_expired(plane: "Plane", call_id: str = "") -> None:
    for call in list(plane.world.calls.values()):
        if call_id in ("", call.id):
            plane.expire(call.id)


def _gpu_queued(plane: "Plane", gpu: str = "", seconds: float = math.inf) -> None:
    types = [gpu] if gpu else ["T4", "L4", "A10", "L40S", "A100", "A100-40GB", "A100-80GB", "H100", "H200", "B200"]
    plane.settings.gpu_delay_seconds.update(dict.fromkeys(types, seconds))


def _image_build_failure(plane: "Plane", command: str = "", message: str = "error: no matching distribution") -> None:
    plane.images.forget()
    plane.settings.build_failures[command] = message


def _http(kind: str, status: int, method: str = "*") -> Callable[..., None]:
    def act(plane: "Plane", times: int | None = None) -> None:
        plane.faults.append(HttpFault(kind, status, times, method))

    return act


def _connection_cut(plane: "Plane", seconds: float = 2.0) -> None:
    plane.cut_wire(seconds)


def _go_silent(plane: "Plane", seconds: float = 2.0) -> None:
    plane.go_silent(seconds)


def _outage(plane: "Plane", seconds: float = 2.0) -> None:
    plane.faults.append(Fault("*", Status.UNAVAILABLE, "outage", times=None, seconds=seconds, side="client"))


def _commit_failure(
    plane: "Plane",
    times: int | None = 1,
    status: Status = Status.FAILED_PRECONDITION,
    message: str = "commit failed",
) -> None:
    """Not a status that the client tries ninety times more."""
    plane.faults.append(Fault("VolumeCommit", status, message, times, side="container"))


def _volume_full(plane: "Plane") -> None:
    _commit_failure(plane, None, Status.RESOURCE_EXHAUSTED, "Volume is full")


def _bad_token(plane: "Plane") -> None:
    plane.router.token = ("ak-revoked", "as-revoked")


CATALOGUE: dict[str, Callable[..., None]] = {
    # containers
    "preemption": _preemption,
    "out_of_memory": _out_of_memory,
    "exit_code": _exit_code,
    "function_timeout": _function_timeout,
    "container_silent": _container_silent,
    "user_exception": _user_exception,
    "unknown_exception": _unknown_exception,
    "import_error": _import_error,
    "cancelled": _cancelled,
    "terminated": _terminated,
    "app_stopped": _app_stopped,
    "client_gone": _client_gone,
    "result_expired": _result_expired,
    "gpu_queued": _gpu_queued,
    "image_build_failure": _image_build_failure,
    # the wire
    "connection_cut": _connection_cut,
    "go_silent": _go_silent,
    "outage": _outage,
    "unavailable": Border("*", Status.UNAVAILABLE, "service unavailable"),
    "internal": Border("*", Status.INTERNAL, "internal error"),
    "unknown": Border("*", Status.UNKNOWN, "unknown error"),
    "deadline": Border("*", Status.DEADLINE_EXCEEDED, "deadline exceeded"),
    "rpc_cancelled": Border("*", Status.CANCELLED, "cancelled"),
    "conflict": Border("*", Status.FAILED_PRECONDITION, "failed precondition"),
    "aborted": Border("*", Status.ABORTED, "aborted"),
    "unimplemented": Border("*", Status.UNIMPLEMENTED, "unimplemented"),
    "data_loss": Border("*", Status.DATA_LOSS, "data loss"),
    "already_exists": Border("*", Status.ALREADY_EXISTS, "already exists"),
    "out_of_range": Border("*", Status.OUT_OF_RANGE, "out of range"),
    "reply_lost": Border("FunctionMap", Status.UNAVAILABLE, "reply lost", times=1, after=True),
    # who one is and what one may
    "bad_token": _bad_token,
    "forbidden": Border("*", Status.PERMISSION_DENIED, "permission denied"),
    "quota": Border("FunctionMap", Status.RESOURCE_EXHAUSTED, "workspace limit reached"),
    "function_quota": Border("FunctionCreate", Status.RESOURCE_EXHAUSTED, "GPU limit reached"),
    "invalid_config": Border("FunctionCreate", Status.INVALID_ARGUMENT, "invalid function configuration"),
    "missing_secret": Border("SecretGetOrCreate", Status.NOT_FOUND, "Secret not found"),
    "missing_volume": Border("VolumeGetOrCreate", Status.NOT_FOUND, "Volume not found"),
    "missing_function": Border("FunctionGet", Status.NOT_FOUND, "Function not found"),
    "missing_call": Border("FunctionGetOutputs", Status.NOT_FOUND, "FunctionCall not found"),
    # storage
    "commit_failure": _commit_failure,
    "volume_full": _volume_full,
    "upload_exists": Border("VolumePutFiles*", Status.ALREADY_EXISTS, "file already exists"),
    "upload_quota": Border("VolumePutFiles*", Status.RESOURCE_EXHAUSTED, "Volume is full"),
    "storage_5xx": _http("block", 500),
    "storage_503": _http("block", 503),
    "read_5xx": _http("file", 500),
    "blob_failure": _http("blob", 500, "PUT"),
}
