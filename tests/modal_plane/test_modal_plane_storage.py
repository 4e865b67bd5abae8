"""The control plane for tests: Volumes, Dicts, logs, images, money, and the ways to try it by hand."""

import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import modal
import modal.exception as raised
import pytest

from modal_plane import BillingItem, HttpFault, Plane
from modal_plane.volumes import BLOCK_BYTES
from modal_plane.work import WAIT, Spawn, jobs, volume
from modal_plane.workcopy import WorkingCopy

pytest_plugins = ["modal_plane.fixtures"]


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


def test_zeros_at_the_ends_of_blocks_arrive_though_the_client_leaves_them_out(
    plane: Plane, client: modal.Client, tmp_path: Path
) -> None:
    bytes_ = (b"x" * (BLOCK_BYTES - 3) + b"\0" * 3) * 2 + b"x\0\0"
    (tmp_path / "big.bin").write_bytes(bytes_)
    with volume(client, "data").batch_upload() as batch:
        batch.put_file(tmp_path / "big.bin", "/big.bin")
    assert (plane.volume("data") / "big.bin").read_bytes() == bytes_


def test_an_uploaded_block_never_goes_up_again(plane: Plane, client: modal.Client) -> None:
    there, bytes_ = volume(client, "data"), uuid.uuid4().bytes * 1000
    for name in ("one", "two"):
        with there.batch_upload() as batch:
            batch.put_file(BytesIO(bytes_), name)
    rounds = [
        len(rpc.request.files[0].blocks[0].put_response) > 0 for rpc in plane.calls if rpc.name == "VolumePutFiles2"
    ]
    assert rounds == [False, True, False]


def test_what_is_not_committed_is_seen_by_nobody(plane: Plane, spawn: Spawn) -> None:
    spawn(jobs.write, "kept.txt", "kept").get(timeout=WAIT)
    assert (plane.volume("checkpoints") / "kept.txt").read_text() == "kept"
    plane.settings.commit_delay_seconds = 10.0
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


def test_a_volume_is_not_reloaded_while_the_job_has_its_files_open(spawn: Spawn) -> None:
    assert "open files" in spawn(jobs.reload_with_open_file).get(timeout=WAIT)


def test_a_failed_commit_is_a_runtime_error_in_the_job(plane: Plane, spawn: Spawn) -> None:
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


def test_logs_are_streamed_while_they_come_and_fetched_afterwards(plane: Plane, spawn: Spawn) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=1)
    call = spawn(jobs.count_up, 5, 5)
    assert call.get(timeout=WAIT) == 0
    other = spawn(jobs.echo, "of the other")
    assert [entry.message for entry in other.logs.stream()] == ["got of the other\n"]
    assert [entry.message for entry in other.logs.fetch(since=begun)] == ["got of the other\n"]
    assert [entry.message for entry in other.logs.tail(5, source="stdout")] == ["got of the other\n"]
    assert list(call.logs.fetch(since=begun)) == []


def test_a_progress_bar_is_logged_line_by_line(plane: Plane, spawn: Spawn) -> None:
    call = spawn(jobs.talk)
    call.get(timeout=WAIT)
    plane.wait_until(lambda: "end" in plane.output())
    assert [line.text for line in plane.world.logs if line.call_id == call.object_id] == [
        "über\n", "\n", " 1%\r", " 2%\r\n", "end",
    ]  # fmt: skip


def test_a_dict_and_a_queue_carry_progress(client: modal.Client, spawn: Spawn) -> None:
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


def test_a_failed_build_tells_its_log(plane: Plane, client: modal.Client) -> None:
    plane.settings.build_failures["flash-attn"] = "error: no wheel for flash-attn"
    app = modal.App("broken", include_source=False)
    app.function(image=modal.Image.debian_slim().uv_pip_install("flash-attn==9"), name="job")(jobs.echo)
    with pytest.raises(raised.ImageBuildError) as caught, app.run(detach=True, client=client):
        pytest.fail("the App runs without its image")
    log = modal.Image.from_id(caught.value.image_id, client=client).logs.tail()
    assert "error: no wheel for flash-attn\n" in [entry.message for entry in log]
    assert all(app.is_stopped for app in plane.world.apps.values())


def test_an_image_is_built_once_and_its_commands_are_recorded(plane: Plane, spawn: Spawn) -> None:
    built = modal.Image.debian_slim().uv_pip_install("trl==1.15.0").add_local_python_source("plane_jobs")
    for _ in range(2):
        spawn(jobs.echo, 1, image=built)
    ids = {rpc.request.function.image_id for rpc in plane.calls if rpc.name == "FunctionCreate"}
    assert len(ids) == 1
    assert any("trl==1.15.0" in line for line in plane.images.commands(ids.pop()))


def test_rates_and_billing_tell_what_was_used(plane: Plane, client: modal.Client, spawn: Spawn) -> None:
    spawn(jobs.echo, 1, gpu="H100").get(timeout=WAIT)
    plane.wait_until(lambda: not plane.world.running_tasks())
    billing = modal.Workspace.from_context(client=client).billing
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    assert billing.rates()["gpu_hour_cost_h100"] == Decimal("3.95")
    assert billing.report(start=hour, resolution="h") == []
    (item,) = plane.bill_usage(hour)
    plane.bills.items.append(BillingItem("ap-other", "other", hour, Decimal(9)))
    report = billing.report(start=hour, resolution="h", tag_names=["run"])
    mine = [row for row in report if row.object_id == item.object_id]
    assert [(row.cost, row.tags) for row in mine] == [(item.cost, {"run": "r1"})]
    assert mine[0].cost_by_resource["gpu_hour_cost_h100"] > 0


def test_a_person_tries_it_with_one_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modal_plane", "--state", str(tmp_path), "--"]
    code = "import modal; d = modal.Dict.from_name('d', create_if_missing=True); d[1] = 2; print(d[1])"
    ran = subprocess.run(
        [*command, sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("2\n", 0), ran.stderr


def test_modals_own_command_line_works(plane: Plane, client: modal.Client, spawn: Spawn) -> None:
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
