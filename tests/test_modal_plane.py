"""The control plane for tests, tried with the real `modal` client and real containers.

What holds here is what the tests of the product rest on: that a container sees only what it was given, that only
what was committed survives, and that each fault reaches the client as the exception that the service would cause.
"""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any

import modal
import modal.exception as raised
import pytest

from tests.modal_plane import CATALOGUE, BillingItem, Fault, HttpFault, Plane, bare_python
from tests.modal_plane.workcopy import WorkingCopy

JOBS = Path(__file__).parent / "modal_plane" / "jobs"
sys.path.insert(0, str(JOBS))
jobs: Any = importlib.import_module("plane_jobs")  # by the one name that containers know too
DATA = "/data/checkpoints"
WAIT = 30.0
Call = modal.FunctionCall[Any]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with Plane(tmp_path / "plane", preemption_grace_seconds=5.0) as plane:
        yield plane
    assert not plane.bugs
    assert not plane.missing


@pytest.fixture
def client(plane: Plane) -> Iterator[modal.Client]:
    with plane.client() as client:
        yield client


@pytest.fixture
def spawn(plane: Plane, client: modal.Client) -> Callable[..., Call]:
    """Spawn one of the jobs in a detached App of its own, leave the App, and take the call up again by its id."""

    def start(job: Callable[..., Any], *args: object, **options: Any) -> Call:
        app = modal.App("tried", include_source=False, tags={"run": "r1"})
        settings: dict[str, Any] = {"image": image(), "single_use_containers": True, "volumes": {DATA: volume(client)}}
        function = app.function(name="job", **{**settings, **options})(job)
        with app.run(detach=True, client=client):
            call = function.spawn(*args)
        return modal.FunctionCall.from_id(call.object_id, client=client)

    return start


def image() -> modal.Image:
    return modal.Image.debian_slim().add_local_python_source("plane_jobs")


def volume(client: modal.Client, name: str = "checkpoints") -> modal.Volume:
    return modal.Volume.from_name(name, create_if_missing=True, version=2, client=client)


def holds(plane: Plane, times: int = 1) -> None:
    plane.wait_until(lambda: plane.output().count("holding") >= times, WAIT, "the job holds")


def status(call: Call) -> str:
    return call.get_call_graph()[0].status.name


# -- calls ------------------------------------------------------------------------------------------------------------


def test_a_call_is_spawned_left_and_taken_up_by_its_id(plane: Plane, spawn: Callable[..., Call]) -> None:
    call = spawn(jobs.echo, {"steps": 3})
    assert call.get(timeout=WAIT) == {"steps": 3}
    assert status(call) == "SUCCESS"
    assert [rpc.request.app_state for rpc in plane.calls if rpc.name == "AppCreate"] == [2]


def test_the_app_of_a_detached_run_stops_when_its_call_has_ended(plane: Plane, spawn: Callable[..., Call]) -> None:
    spawn(jobs.echo, 1).get(timeout=WAIT)
    plane.wait_until(lambda: all(app.is_stopped for app in plane.world.apps.values()))


def test_arguments_and_results_above_8_kib_go_through_the_blob_store(spawn: Callable[..., Call]) -> None:
    assert spawn(jobs.echo, "x" * 3_000_000).get(timeout=WAIT) == "x" * 3_000_000


def test_a_run_outlives_the_sigkill_of_its_client(plane: Plane, client: modal.Client, tmp_path: Path) -> None:
    script = tmp_path / "apply.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, modal, plane_jobs
        image = modal.Image.debian_slim().add_local_python_source("plane_jobs")
        app = modal.App("killed", include_source=False)
        job = app.function(image=image, name="job")(plane_jobs.echo)
        with app.run(detach=True):
            print(job.spawn("still there").object_id, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    env = {**os.environ, **plane.client_env(), "PYTHONPATH": str(JOBS)}
    killed = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    call: Call = modal.FunctionCall.from_id(killed.stdout.strip(), client=client)
    assert call.get(timeout=WAIT) == "still there"


def test_an_ephemeral_app_ends_with_the_heartbeats_of_its_client(plane: Plane, client: modal.Client) -> None:
    app = modal.App("ephemeral", include_source=False)
    function = app.function(image=image(), name="job")(jobs.hold)
    with app.run(client=client):
        call = function.spawn()
        holds(plane)
        plane.inject("client_gone")
        with pytest.raises(raised.RemoteError):
            call.get(timeout=WAIT)
    assert status(call) == "TERMINATED"


def test_only_the_last_spawned_call_of_a_detached_app_is_kept(plane: Plane, client: modal.Client) -> None:
    app = modal.App("two", include_source=False)
    function = app.function(image=image(), name="job", single_use_containers=True)(jobs.echo)
    with app.run(detach=True, client=client):
        first, last = function.spawn(1), function.spawn(2)
    assert last.get(timeout=WAIT) == 2
    with pytest.raises(raised.RemoteError):
        first.get(timeout=WAIT)


def test_an_exception_comes_back_as_its_own_class(spawn: Callable[..., Call]) -> None:
    with pytest.raises(jobs.JobError, match="loss is nan"):
        spawn(jobs.fail, "loss is nan").get(timeout=WAIT)


def test_retries_follow_the_policy_of_the_function(spawn: Callable[..., Call]) -> None:
    policy = modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0)
    assert spawn(jobs.fail_then_pass, 2, retries=policy).get(timeout=WAIT) == 3


def test_a_timeout_ends_the_attempt(plane: Plane, spawn: Callable[..., Call]) -> None:
    with pytest.raises(raised.FunctionTimeoutError):
        spawn(jobs.hold, timeout=1).get(timeout=WAIT)
    plane.wait_until(lambda: [task.ending for task in plane.tasks if not task.is_alive] == ["timed out"])


def test_what_the_service_refuses_is_refused(spawn: Callable[..., Call]) -> None:
    with pytest.raises(raised.InvalidError, match="retries must be at most 10"):
        spawn(jobs.echo, 1, retries=11)


def test_a_deployed_function_is_found_by_name_and_bound_with_options(plane: Plane, client: modal.Client) -> None:
    app = modal.App("deployed", include_source=False)
    app.function(image=image(), name="job")(jobs.seen)
    app.deploy(client=client)
    function = modal.Function.from_name("deployed", "job", client=client).with_options(gpu="L4", timeout=60)
    assert function.remote()["env"]["SFTRUN_TEST_GPU"] == "L4"
    app.stop(client=client)
    with pytest.raises(raised.NotFoundError):
        modal.Function.from_name("deployed", "job", client=client).hydrate()


def test_a_crash_of_a_deployed_function_never_reaches_the_caller(plane: Plane, client: modal.Client) -> None:
    plane.settings.crash_limit = 1
    app = modal.App("deployed", include_source=False)
    app.function(image=image(), name="job")(jobs.die)
    app.deploy(client=client)
    call = modal.Function.from_name("deployed", "job", client=client).spawn(3)
    plane.wait_until(lambda: len([task for task in plane.tasks if task.exit_code == 3]) >= 2)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)


# -- containers -------------------------------------------------------------------------------------------------------


def test_a_container_sees_its_volume_its_code_and_its_secrets_alone(
    plane: Plane, client: modal.Client, spawn: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEFT_ON_THE_LAPTOP", "1")
    plane.add_secret("huggingface", {"HF_TOKEN": "hf_secret"})
    (plane.volume("checkpoints") / "there.txt").write_text("before")
    secret = modal.Secret.from_name("huggingface", required_keys=["HF_TOKEN"], client=client)
    built = modal.Image.debian_slim().env({"WITH": "two words"}).add_local_python_source("plane_jobs")
    seen = spawn(jobs.seen, secrets=[secret], image=built).get(timeout=WAIT)
    assert seen["volume"] == ["there.txt"]
    assert seen["modules"] == ["plane_jobs.py"]
    assert seen["env"]["HF_TOKEN"] == "hf_secret"
    assert seen["env"]["WITH"] == "two words"
    assert not {"LEFT_ON_THE_LAPTOP", "MODAL_TOKEN_SECRET", "SFTRUN_TEST_GPU"} & seen["env"].keys()


def test_a_module_that_the_image_lacks_is_missing(tmp_path: Path) -> None:
    python = bare_python(tmp_path / "bare", "modal")
    (tmp_path / "needs_more.py").write_text("import ruamel.yaml\ndef job(): return 1\n")
    script = "import modal, needs_more; a = modal.App('a', include_source=False)\n"
    script += "i = modal.Image.debian_slim().add_local_python_source('needs_more')\n"
    script += "f = a.function(image=i)(needs_more.job)\nwith a.run(): f.remote()"
    with Plane(tmp_path / "plane", python=python) as plane:
        env = {**os.environ, **plane.client_env(), "PYTHONPATH": str(tmp_path)}
        ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: No module named 'ruamel'" in ran.stderr


def test_a_source_file_that_was_not_mounted_is_missing(spawn: Callable[..., Call]) -> None:
    with pytest.raises(ModuleNotFoundError, match="plane_jobs"):
        spawn(jobs.echo, 1, image=modal.Image.debian_slim()).get(timeout=WAIT)


def test_a_hidden_folder_of_the_host_is_empty_for_the_job(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "forgotten.py").write_text("")
    with Plane(tmp_path / "plane", hide=(checkout,)) as plane, plane.client() as client:
        app = modal.App("hidden", include_source=False)
        function = app.function(image=image(), name="job")(jobs.listing)
        with app.run(client=client):
            assert function.remote(str(checkout)) == []


def test_a_preempted_input_starts_again_from_what_was_committed(plane: Plane, spawn: Callable[..., Call]) -> None:
    call = spawn(jobs.count_up, 10, 2, 4)
    holds(plane)
    assert plane.preempt(grace_seconds=0) == 1
    assert call.get(timeout=WAIT) == 4  # step 4 was written, not committed
    assert (plane.volume("checkpoints") / "steps.txt").read_text().split() == [str(step) for step in range(10)]
    assert [task.ending for task in plane.tasks] == ["preempted", ""]
    assert "is being preempted" in "".join(line.text for line in plane.world.logs)


def test_a_preempted_container_hears_sigint_first(plane: Plane, spawn: Callable[..., Call]) -> None:
    call = spawn(jobs.hold, "told.txt")
    holds(plane)
    plane.inject("preemption")
    note = plane.volume("checkpoints") / "told.txt"
    assert plane.wait_until(lambda: note.exists() and note.read_text()) == "KeyboardInterrupt"
    holds(plane, times=2)
    call.cancel(terminate_containers=True)


def test_a_cancelled_job_hears_it_and_may_save(plane: Plane, spawn: Callable[..., Call]) -> None:
    call = spawn(jobs.hold, "told.txt")
    holds(plane)
    call.cancel()
    with pytest.raises(raised.RemoteError):
        call.get(timeout=WAIT)
    assert status(call) == "TERMINATED"
    assert (plane.volume("checkpoints") / "told.txt").read_text() == "InputCancellation"


def test_a_terminated_job_takes_its_children_with_it(plane: Plane, spawn: Callable[..., Call], tmp_path: Path) -> None:
    call = spawn(jobs.hold_with_child, str(tmp_path / "pid"))
    holds(plane)
    call.cancel(terminate_containers=True)
    with pytest.raises(raised.RemoteError):
        call.get(timeout=WAIT)
    child = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    plane.wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z")
    assert status(call) == "TERMINATED"


def test_running_out_of_memory_reaches_the_caller_at_the_crash_limit(plane: Plane, spawn: Callable[..., Call]) -> None:
    plane.settings.crash_limit = 2
    call = spawn(jobs.hold)
    for time in (1, 2):
        holds(plane, time)
        plane.out_of_memory()
    with pytest.raises(raised.RemoteError, match="ran out of memory 2 times"):
        call.get(timeout=WAIT)


def test_a_container_that_exits_is_a_crash(plane: Plane, spawn: Callable[..., Call]) -> None:
    plane.settings.crash_limit = 1
    with pytest.raises(raised.RemoteError, match="exited with code -9"):
        spawn(jobs.die, -9).get(timeout=WAIT)


def test_a_container_that_stands_still_is_replaced(plane: Plane, spawn: Callable[..., Call]) -> None:
    plane.settings.heartbeat_interval_seconds, plane.settings.heartbeat_timeout_seconds = 0.2, 0.5
    call = spawn(jobs.count_up, 6, 2, 3)
    holds(plane)
    os.kill(plane.working()[0].pid, signal.SIGSTOP)
    assert call.get(timeout=WAIT) == 4
    assert plane.tasks[0].ending == "silent"


def test_a_cluster_gives_each_node_its_rank_and_returns_that_of_rank_0(
    spawn: Callable[..., Call], tmp_path: Path
) -> None:
    call = spawn(modal.clustered(size=2)(jobs.cluster), str(tmp_path), gpu="H100:8", volumes={})
    assert call.get(timeout=WAIT) == [0, 2]
    assert sorted(path.name for path in tmp_path.glob("rank-*")) == ["rank-0", "rank-1"]


def test_without_a_mount_namespace_volumes_are_links(
    plane: Plane, client: modal.Client, spawn: Callable[..., Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.modal_plane import container

    monkeypatch.setattr(container, "namespace_command", lambda: ())
    place = tmp_path / "mounted" / "here"
    assert spawn(jobs.echo, 1, volumes={str(place): volume(client)}).get(timeout=WAIT) == 1
    plane.wait_until(lambda: not plane.world.running_tasks())
    assert not place.is_symlink()


# -- GPUs -------------------------------------------------------------------------------------------------------------


def test_a_gpu_that_does_not_come_queues_the_call(plane: Plane, client: modal.Client) -> None:
    plane.inject("gpu_queued", gpu="H100")
    app = modal.App("queued", include_source=False)
    function = app.function(image=image(), name="job", gpu="H100")(jobs.echo)
    with app.run(detach=True, client=client):
        call = function.spawn(1)
        assert function.get_current_stats().backlog == 1
    with pytest.raises(TimeoutError):
        call.get(timeout=0.2)
    assert status(call) == "PENDING"
    plane.settings.gpu_delay_seconds.clear()
    assert call.get(timeout=WAIT) == 1


def test_the_next_gpu_of_the_list_serves_and_may_be_a_better_one(plane: Plane, spawn: Callable[..., Call]) -> None:
    plane.settings.gpu_delay_seconds["B200"] = inf
    plane.settings.gpu_served["H100"] = "H200"
    env = spawn(jobs.seen, gpu=["B200", "H100:2"]).get(timeout=WAIT)["env"]
    assert (env["SFTRUN_TEST_GPU"], env["SFTRUN_TEST_GPU_COUNT"]) == ("H200", "2")


# -- logs, Dicts, Queues ----------------------------------------------------------------------------------------------


def test_logs_are_streamed_while_they_come_and_fetched_afterwards(plane: Plane, spawn: Callable[..., Call]) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=1)
    call = spawn(jobs.count_up, 5, 5)
    assert call.get(timeout=WAIT) == 0
    other = spawn(jobs.echo, "of the other")
    assert [entry.message for entry in other.logs.stream()] == ["got of the other\n"]
    assert [entry.message for entry in other.logs.fetch(since=begun)] == ["got of the other\n"]
    assert [entry.message for entry in other.logs.tail(5, source="stdout")] == ["got of the other\n"]
    assert list(call.logs.fetch(since=begun)) == []


def test_a_dict_and_a_queue_carry_progress(client: modal.Client, spawn: Callable[..., Call]) -> None:
    spawn(jobs.report, "run-1", 3).get(timeout=WAIT)
    progress = modal.Dict.from_name("progress", client=client)
    assert progress["run-1"] == {"step": 2}
    assert progress.put("lock", "me", skip_if_exists=True) is True
    assert progress.put("lock", "you", skip_if_exists=True) is False
    assert sorted(progress.keys()) == ["lock", "run-1"]
    queue = modal.Queue.from_name("events", client=client)
    assert list(queue.iterate()) == [0, 1, 2]
    assert queue.get_many(5) == [0, 1, 2]
    with pytest.raises(raised.NotFoundError):
        modal.Dict.from_name("none", client=client).hydrate()


# -- Volumes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_a_volume_takes_files_lists_reads_and_removes_them(
    plane: Plane, client: modal.Client, tmp_path: Path, version: int
) -> None:
    (tmp_path / "big.bin").write_bytes(os.urandom(9 * 1024 * 1024))
    there = modal.Volume.from_name("data", create_if_missing=True, version=version, client=client)
    with there.batch_upload() as batch:
        batch.put_file(tmp_path / "big.bin", "/set/big.bin")
        batch.put_file(BytesIO(b"small"), "/set/small.txt")
        batch.put_file(BytesIO(b""), "/set/empty.txt")
    assert b"".join(there.read_file("set/big.bin")) == (tmp_path / "big.bin").read_bytes()
    assert [entry.path for entry in there.listdir("/", recursive=True)] == [
        "set", "set/big.bin", "set/empty.txt", "set/small.txt",
    ]  # fmt: skip
    there.remove_file("set/small.txt")
    assert not (plane.volume("data") / "set/small.txt").exists()
    with pytest.raises(FileNotFoundError):
        list(there.read_file("set/small.txt"))


def test_an_uploaded_block_never_goes_up_again(plane: Plane, client: modal.Client) -> None:
    there, bytes_ = volume(client, "data"), uuid.uuid4().bytes * 1000
    for name in ("one", "two"):
        with there.batch_upload() as batch:
            batch.put_file(BytesIO(bytes_), name)
    rounds = [
        len(rpc.request.files[0].blocks[0].put_response) > 0 for rpc in plane.calls if rpc.name == "VolumePutFiles2"
    ]
    assert rounds == [False, True, False]


def test_what_is_not_committed_is_seen_by_nobody(plane: Plane, spawn: Callable[..., Call]) -> None:
    spawn(jobs.write, "kept.txt", "kept").get(timeout=WAIT)
    assert (plane.volume("checkpoints") / "kept.txt").read_text() == "kept"
    plane.settings.commit_delay_seconds = 1.0
    spawn(jobs.write, "late.txt", "late", False).get(timeout=WAIT)
    late = plane.volume("checkpoints") / "late.txt"
    assert not late.exists()  # the commit at exit comes after the result
    plane.wait_until(late.exists)


def test_a_commit_leaves_alone_what_others_uploaded_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "committed").mkdir()
    (tmp_path / "committed/old").write_text("old")
    copy = WorkingCopy(tmp_path / "committed", tmp_path / "working")
    (tmp_path / "committed/uploaded").write_text("by another")
    (tmp_path / "working/mine").write_text("mine")
    (tmp_path / "working/old").unlink()
    copy.commit()
    assert sorted(path.name for path in (tmp_path / "committed").iterdir()) == ["mine", "uploaded"]
    assert not (tmp_path / "working/uploaded").exists()
    copy.reload()
    assert (tmp_path / "working/uploaded").read_text() == "by another"


def test_a_folder_that_was_empty_at_the_last_commit_keeps_its_files(tmp_path: Path) -> None:
    (tmp_path / "committed").mkdir()
    copy = WorkingCopy(tmp_path / "committed", tmp_path / "working")
    (tmp_path / "working/checkpoint-1").mkdir()
    copy.commit()
    assert (tmp_path / "committed/checkpoint-1").is_dir()
    (tmp_path / "working/checkpoint-1/weights").write_text("w")
    copy.commit()
    assert (tmp_path / "committed/checkpoint-1/weights").read_text() == "w"
    (tmp_path / "working/checkpoint-1/weights").unlink()
    (tmp_path / "working/checkpoint-1").rmdir()
    copy.commit()
    assert not (tmp_path / "committed/checkpoint-1").exists()


def test_a_volume_is_not_reloaded_while_the_job_has_its_files_open(spawn: Callable[..., Call]) -> None:
    assert "open files" in spawn(jobs.reload_with_open_file).get(timeout=WAIT)


def test_a_failed_commit_is_a_runtime_error_in_the_job(plane: Plane, spawn: Callable[..., Call]) -> None:
    plane.inject("commit_failure")
    with pytest.raises(RuntimeError, match="commit failed"):
        spawn(jobs.write, "x", "y").get(timeout=WAIT)


def test_volumes_stay_when_the_plane_is_gone(tmp_path: Path) -> None:
    with Plane(tmp_path) as first:
        (first.volume("checkpoints") / "adapter").write_text("weights")
    with Plane(tmp_path) as second, second.client() as client:
        assert b"".join(modal.Volume.from_name("checkpoints", client=client).read_file("adapter")) == b"weights"


def test_storage_that_fails_for_a_moment_is_tried_again(plane: Plane, client: modal.Client) -> None:
    plane.faults.append(HttpFault("block", 500, times=1))
    with volume(client, "data").batch_upload() as batch:
        batch.put_file(BytesIO(b"content"), "file")
    assert (plane.volume("data") / "file").read_bytes() == b"content"


def test_an_upload_over_an_existing_file_is_refused(plane: Plane, client: modal.Client) -> None:
    (plane.volume("data") / "file").write_text("old")
    with pytest.raises(FileExistsError), volume(client, "data").batch_upload() as batch:
        batch.put_file(BytesIO(b"new"), "file")


# -- images -----------------------------------------------------------------------------------------------------------


def test_a_failed_build_tells_its_log(plane: Plane, client: modal.Client) -> None:
    plane.settings.build_failures["flash-attn"] = "error: no wheel for flash-attn"
    app = modal.App("broken", include_source=False)
    app.function(image=modal.Image.debian_slim().uv_pip_install("flash-attn==9"), name="job")(jobs.echo)
    with pytest.raises(raised.ImageBuildError) as caught, app.run(detach=True, client=client):
        pytest.fail("the App runs without its image")
    log = modal.Image.from_id(caught.value.image_id, client=client).logs.tail()
    assert "error: no wheel for flash-attn\n" in [entry.message for entry in log]
    assert all(app.is_stopped for app in plane.world.apps.values())


def test_an_image_is_built_once_and_its_commands_are_recorded(plane: Plane, spawn: Callable[..., Call]) -> None:
    built = modal.Image.debian_slim().uv_pip_install("trl==1.15.0").add_local_python_source("plane_jobs")
    for _ in range(2):
        spawn(jobs.echo, 1, image=built)
    ids = {rpc.request.function.image_id for rpc in plane.calls if rpc.name == "FunctionCreate"}
    assert len(ids) == 1
    assert any("trl==1.15.0" in line for line in plane.images.commands(ids.pop()))


# -- the wire ---------------------------------------------------------------------------------------------------------


def test_a_cut_wire_ends_the_watching_and_not_the_run(
    plane: Plane, client: modal.Client, spawn: Callable[..., Call]
) -> None:
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


def test_a_lost_reply_does_not_start_a_second_call(plane: Plane, spawn: Callable[..., Call]) -> None:
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
def test_each_fault_of_spawning_is_its_exception(plane: Plane, spawn: Callable[..., Call], name: str) -> None:
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
def test_each_fault_of_running_is_its_exception(plane: Plane, spawn: Callable[..., Call], name: str) -> None:
    call = spawn(jobs.hold)
    holds(plane)
    plane.inject(name)
    with pytest.raises(RUNNING[name]):
        call.get(timeout=WAIT)


def test_an_expired_result_is_said_when_asked_with_a_timeout(plane: Plane, spawn: Callable[..., Call]) -> None:
    call = spawn(jobs.echo, 1)
    assert call.get(timeout=WAIT) == 1
    plane.inject("result_expired")
    with pytest.raises(raised.OutputExpiredError):
        call.get(timeout=0.1)  # without one the client asks for ever


def test_an_unknown_fault_names_those_there_are(plane: Plane) -> None:
    with pytest.raises(KeyError, match="preemption"):
        plane.inject("preemtion")
    assert len(CATALOGUE) > 40


# -- money and the command line ---------------------------------------------------------------------------------------


def test_rates_and_billing_tell_what_was_used(plane: Plane, client: modal.Client, spawn: Callable[..., Call]) -> None:
    spawn(jobs.echo, 1, gpu="H100").get(timeout=WAIT)
    plane.wait_until(lambda: not plane.world.running_tasks())
    billing = modal.Workspace.from_context(client=client).billing
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    assert billing.rates()["gpu_hour_cost_h100"] == Decimal("3.95")
    assert billing.report(start=hour, resolution="h") == []
    (item,) = plane.bill_usage()
    plane.bills.items.append(BillingItem("ap-other", "other", hour, Decimal(9)))
    report = billing.report(start=hour, resolution="h", tag_names=["run"])
    mine = [row for row in report if row.object_id == item.object_id]
    assert [(row.cost, row.tags) for row in mine] == [(item.cost, {"run": "r1"})]
    assert mine[0].cost_by_resource["gpu_hour_cost_h100"] > 0


def test_a_person_tries_it_with_one_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.modal_plane", "--state", str(tmp_path), "--"]
    code = "import modal; d = modal.Dict.from_name('d', create_if_missing=True); d[1] = 2; print(d[1])"
    ran = subprocess.run(
        [*command, sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("2\n", 0), ran.stderr


def test_modals_own_command_line_works(plane: Plane, client: modal.Client, spawn: Callable[..., Call]) -> None:
    (plane.volume("checkpoints") / "adapter.bin").write_text("weights")
    spawn(jobs.echo, 1).get(timeout=WAIT)

    def modal_cli(*words: str) -> str:
        env = {**os.environ, **plane.client_env(), "COLUMNS": "200"}
        ran = subprocess.run(
            [sys.executable, "-m", "modal", *words], env=env, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert "adapter.bin" in modal_cli("volume", "ls", "checkpoints")
    app_id = next(iter(plane.world.apps))
    assert app_id in modal_cli("app", "list")
    assert "got 1" in modal_cli("app", "logs", app_id)
