"""The control plane for tests, tried with the real `modal` client and real containers: calls, containers, GPUs.

What holds here is what the tests of the product rest on: that a run needs no client, that a container sees only what
it was given, and that only what was committed survives it.
"""

import os
import signal
import subprocess
import sys
import textwrap
from math import inf
from pathlib import Path

import modal
import modal.exception as raised
import pytest

from modal_plane import Plane, bare_python
from modal_plane.work import JOBS, WAIT, Call, Spawn, holds, image, jobs, status, volume

pytest_plugins = ["modal_plane.fixtures"]


def test_a_call_is_spawned_left_and_taken_up_by_its_id(plane: Plane, spawn: Spawn) -> None:
    call = spawn(jobs.echo, {"steps": 3})
    assert call.get(timeout=WAIT) == {"steps": 3}
    assert status(call) == "SUCCESS"
    assert [rpc.request.app_state for rpc in plane.calls if rpc.name == "AppCreate"] == [2]


def test_the_app_of_a_detached_run_stops_when_its_call_has_ended(plane: Plane, spawn: Spawn) -> None:
    spawn(jobs.echo, 1).get(timeout=WAIT)
    plane.wait_until(lambda: all(app.is_stopped for app in plane.world.apps.values()))


def test_arguments_and_results_above_8_kib_go_through_the_blob_store(spawn: Spawn) -> None:
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


def test_an_exception_comes_back_as_its_own_class(spawn: Spawn) -> None:
    with pytest.raises(jobs.JobError, match="loss is nan"):
        spawn(jobs.fail, "loss is nan").get(timeout=WAIT)


def test_retries_follow_the_policy_of_the_function(spawn: Spawn) -> None:
    policy = modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0)
    assert spawn(jobs.fail_then_pass, 2, retries=policy).get(timeout=WAIT) == 3


def test_a_generator_yields_while_it_runs(plane: Plane, client: modal.Client) -> None:
    app = modal.App("generator", include_source=False)
    function = app.function(image=image(), name="job", is_generator=True)(jobs.counting)
    with app.run(client=client):
        assert list(function.remote_gen(3)) == [0, 1, 2]


def test_a_timeout_ends_the_attempt(plane: Plane, spawn: Spawn) -> None:
    with pytest.raises(raised.FunctionTimeoutError):
        spawn(jobs.hold, timeout=1).get(timeout=WAIT)
    plane.wait_until(lambda: [task.ending for task in plane.tasks if not task.is_alive] == ["timed out"])


def test_what_the_service_refuses_is_refused(spawn: Spawn) -> None:
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


def test_a_container_sees_its_volume_its_code_and_its_secrets_alone(
    plane: Plane, client: modal.Client, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
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


def test_a_source_file_that_was_not_mounted_is_missing(spawn: Spawn) -> None:
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


def test_a_preempted_input_starts_again_from_what_was_committed(plane: Plane, spawn: Spawn) -> None:
    call = spawn(jobs.count_up, 10, 2, 4)
    holds(plane)
    assert plane.preempt(grace_seconds=0) == 1
    assert call.get(timeout=WAIT) == 4  # step 4 was written, not committed
    assert (plane.volume("checkpoints") / "steps.txt").read_text().split() == [str(step) for step in range(10)]
    assert [task.ending for task in plane.tasks] == ["preempted", ""]
    assert "is being preempted" in "".join(line.text for line in plane.world.logs)


def test_a_preempted_container_hears_sigint_first(plane: Plane, spawn: Spawn) -> None:
    call = spawn(jobs.hold, "told.txt")
    holds(plane)
    plane.inject("preemption")
    note = plane.volume("checkpoints") / "told.txt"
    assert plane.wait_until(lambda: note.exists() and note.read_text()) == "KeyboardInterrupt"
    holds(plane, times=2)
    call.cancel(terminate_containers=True)


def test_a_cancelled_job_hears_it_and_may_save(plane: Plane, spawn: Spawn) -> None:
    call = spawn(jobs.hold, "told.txt")
    holds(plane)
    call.cancel()
    with pytest.raises(raised.RemoteError):
        call.get(timeout=WAIT)
    assert status(call) == "TERMINATED"
    assert (plane.volume("checkpoints") / "told.txt").read_text() == "InputCancellation"


def test_a_terminated_job_takes_its_children_with_it(plane: Plane, spawn: Spawn, tmp_path: Path) -> None:
    call = spawn(jobs.hold_with_child, str(tmp_path / "pid"))
    holds(plane)
    call.cancel(terminate_containers=True)
    with pytest.raises(raised.RemoteError):
        call.get(timeout=WAIT)
    child = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    plane.wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z")
    assert status(call) == "TERMINATED"


def test_running_out_of_memory_reaches_the_caller_at_the_crash_limit(plane: Plane, spawn: Spawn) -> None:
    plane.settings.crash_limit = 2
    call = spawn(jobs.hold)
    for time in (1, 2):
        holds(plane, time)
        plane.out_of_memory()
    with pytest.raises(raised.RemoteError, match="ran out of memory 2 times"):
        call.get(timeout=WAIT)


def test_a_container_that_exits_is_a_crash(plane: Plane, spawn: Spawn) -> None:
    plane.settings.crash_limit = 1
    with pytest.raises(raised.RemoteError, match="exited with code -9"):
        spawn(jobs.die, -9).get(timeout=WAIT)


def test_a_container_that_stands_still_is_replaced(plane: Plane, spawn: Spawn) -> None:
    plane.settings.heartbeat_interval_seconds, plane.settings.heartbeat_timeout_seconds = 0.5, 1.5
    call = spawn(jobs.count_up, 6, 2, 3)
    holds(plane)
    os.kill(plane.working()[0].pid, signal.SIGSTOP)
    assert call.get(timeout=WAIT) == 4
    assert plane.tasks[0].ending == "silent"


def test_a_cluster_gives_each_node_its_rank_and_returns_that_of_rank_0(spawn: Spawn, tmp_path: Path) -> None:
    call = spawn(modal.clustered(size=2)(jobs.cluster), str(tmp_path), gpu="H100:8", volumes={})
    assert call.get(timeout=WAIT) == [0, 2]
    assert sorted(path.name for path in tmp_path.glob("rank-*")) == ["rank-0", "rank-1"]


def test_a_cluster_starts_again_also_when_the_one_that_has_answered_is_the_last_to_end(
    plane: Plane, spawn: Spawn, tmp_path: Path
) -> None:
    call = spawn(modal.clustered(size=2)(jobs.leave), str(tmp_path), gpu="H100:8", volumes={})
    holds(plane, 2)
    assert plane.preempt(rank=1, grace_seconds=60.0) == 1
    first, second = sorted(plane.tasks, key=lambda task: task.rank)
    plane.wait_until(lambda: second.has_answered)
    os.kill(first.pid, signal.SIGINT)
    assert call.get(timeout=WAIT) == "again"
    assert first.finished_at < second.finished_at


def test_a_part_of_a_volume_is_mounted_read_only(plane: Plane, client: modal.Client, spawn: Spawn) -> None:
    (plane.volume("checkpoints") / "sub").mkdir()
    (plane.volume("checkpoints") / "sub/in.txt").write_text("in")
    part = volume(client).with_mount_options(read_only=True, sub_path="sub")
    said = spawn(jobs.try_to_write, "/mnt/part", volumes={"/mnt/part": part}).get(timeout=WAIT)
    assert said == "['in.txt'] Read-only file system"


def test_without_a_mount_namespace_volumes_are_links(
    plane: Plane, client: modal.Client, spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modal_plane import container

    monkeypatch.setattr(container, "namespace_command", lambda: ())
    place = tmp_path / "mounted" / "here"
    assert spawn(jobs.echo, 1, volumes={str(place): volume(client)}).get(timeout=WAIT) == 1
    plane.wait_until(lambda: not plane.world.running_tasks())
    assert not place.is_symlink()


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


def test_the_next_gpu_of_the_list_serves_and_may_be_a_better_one(plane: Plane, spawn: Spawn) -> None:
    plane.settings.gpu_delay_seconds["B200"] = inf
    plane.settings.gpu_served["H100"] = "H200"
    env = spawn(jobs.seen, gpu=["B200", "H100:2"]).get(timeout=WAIT)["env"]
    assert (env["SFTRUN_TEST_GPU"], env["SFTRUN_TEST_GPU_COUNT"]) == ("H200", "2")
