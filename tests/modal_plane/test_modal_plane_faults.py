"""The control plane for tests: each fault reaches the client as the exception that the service would cause."""

import threading

import modal
import modal.exception as raised
import pytest

from modal_plane import CATALOGUE, Fault, Plane
from modal_plane.work import WAIT, Spawn, holds, jobs

pytest_plugins = ["modal_plane.fixtures"]


def test_a_cut_wire_ends_the_watching_and_not_the_run(plane: Plane, client: modal.Client, spawn: Spawn) -> None:
    call = spawn(jobs.hold)
    holds(plane)
    threading.Timer(0.2, plane.cut_wire).start()
    with pytest.raises((raised.ConnectionError, raised.ServiceError)):
        call.get(timeout=WAIT)
    assert len(plane.working()) == 1
    plane.mend_wire()
    with pytest.raises(TimeoutError):
        modal.FunctionCall.from_id(call.object_id, client=client).get(timeout=0)


def test_a_silent_wire_only_delays(plane: Plane, client: modal.Client) -> None:
    shared = modal.Dict.from_name("d", create_if_missing=True, client=client)
    shared["before"] = 1
    plane.go_silent(0.5)
    assert shared["before"] == 1


def test_a_lost_reply_does_not_start_a_second_call(plane: Plane, spawn: Spawn) -> None:
    plane.inject("reply_lost")
    assert spawn(jobs.echo, 7).get(timeout=WAIT) == 7
    assert plane.count("FunctionMap") == 2
    assert len(plane.world.calls) == len(plane.tasks) == 1


def test_faults_count_and_end(plane: Plane, client: modal.Client) -> None:
    shared = modal.Dict.from_name("d", create_if_missing=True, client=client)
    fault = Fault("Dict*", times=2)
    plane.faults.append(fault)
    shared["a"] = 1
    assert shared["a"] == 1
    assert fault.hits == 2


BORDER = {
    "unavailable": raised.ServiceError, "outage": raised.ServiceError, "deadline": raised.ServiceError,
    "rpc_cancelled": raised.ServiceError, "unknown": raised.ServiceError, "internal": raised.InternalError,
    "conflict": raised.ConflictError, "aborted": raised.ConflictError, "unimplemented": raised.UnimplementedError,
    "data_loss": raised.DataLossError, "already_exists": raised.AlreadyExistsError, "out_of_range": raised.InvalidError,
    "forbidden": raised.PermissionDeniedError, "bad_token": raised.AuthError,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BORDER))
def test_each_status_of_the_border_is_its_exception(plane: Plane, client: modal.Client, name: str) -> None:
    shared = modal.Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    plane.inject(name)
    with pytest.raises(BORDER[name]):
        shared.get("key")


SPAWNING = {
    "quota": raised.ResourceExhaustedError, "function_quota": raised.ResourceExhaustedError,
    "invalid_config": raised.InvalidError, "missing_volume": raised.NotFoundError,
    "image_build_failure": raised.ImageBuildError,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SPAWNING))
def test_each_fault_of_spawning_is_its_exception(plane: Plane, spawn: Spawn, name: str) -> None:
    plane.inject(name)
    with pytest.raises(SPAWNING[name]):
        spawn(jobs.echo, 1)
    assert not plane.tasks


RUNNING = {
    "user_exception": RuntimeError, "unknown_exception": raised.ExecutionError, "import_error": ModuleNotFoundError,
    "function_timeout": raised.FunctionTimeoutError, "terminated": raised.RemoteError,
    "app_stopped": raised.RemoteError, "missing_call": raised.NotFoundError,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(RUNNING))
def test_each_fault_of_running_is_its_exception(plane: Plane, spawn: Spawn, name: str) -> None:
    call = spawn(jobs.hold)
    holds(plane)
    plane.inject(name)
    with pytest.raises(RUNNING[name]):
        call.get(timeout=WAIT)


def test_an_expired_result_is_said_when_asked_with_a_timeout(plane: Plane, spawn: Spawn) -> None:
    call = spawn(jobs.echo, 1)
    assert call.get(timeout=WAIT) == 1
    plane.inject("result_expired")
    with pytest.raises(raised.OutputExpiredError):
        call.get(timeout=0.1)  # without one the client asks for ever


def test_an_rpc_that_the_plane_lacks_is_noted(plane: Plane, client: modal.Client) -> None:
    with pytest.raises(raised.UnimplementedError):
        modal.Secret.objects.list(client=client)
    assert plane.missing == {"SecretList"}
    plane.missing.clear()


def test_a_full_volume_refuses_the_commit(plane: Plane, spawn: Spawn) -> None:
    plane.inject("volume_full")
    with pytest.raises(raised.ResourceExhaustedError, match="full"):
        spawn(jobs.write, "x", "y").get(timeout=WAIT)


def test_an_unknown_fault_names_those_there_are(plane: Plane) -> None:
    with pytest.raises(KeyError, match="preemption"):
        plane.inject("preemtion")
    assert len(CATALOGUE) > 40
