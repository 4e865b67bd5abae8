"""Data files going up to a Volume: in blocks, once, checked, and on from where an upload broke off."""

import os
import subprocess
import sys
from pathlib import Path

import modal
import pytest
from grpclib import Status

from modal_plane import Plane
from modal_plane.faults import Fault, HttpFault
from modal_plane.volumes import BLOCK_BYTES
from sftrun.errors import SftrunError
from sftrun.run.modal import volume_files

pytest_plugins = ["modal_plane.fixtures"]
BLOCKS = 5
UPLOAD = """
import sys
from pathlib import Path
import modal
from sftrun.run.modal import volume_files

volume = modal.Volume.from_name("cache", create_if_missing=True, version=2)
volume_files.upload(volume, {Path(sys.argv[1]): "uploads/x/data.bin"}, print)
"""


@pytest.fixture
def volume(client: modal.Client) -> modal.Volume:
    return modal.Volume.from_name("cache", create_if_missing=True, version=2, client=client)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(os.urandom(BLOCKS * BLOCK_BYTES).replace(b"\0", b"\1"))  # zeros at a block's end are not sent
    return path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[volume_files.Transfer]:
    """The transfers of a test, for what they have counted."""
    made: list[volume_files.Transfer] = []

    class Kept(volume_files.Transfer):
        def __enter__(self) -> volume_files.Transfer:
            made.append(self)
            return super().__enter__()

    monkeypatch.setattr(volume_files, "Transfer", Kept)
    return made


def but_how_far(said: list[str]) -> list[str]:
    """Without the lines that only a slow upload has."""
    return [line for line in said if not line.startswith("uploaded ")]


def test_a_file_goes_up_whole_and_never_again(
    plane: Plane, volume: modal.Volume, file: Path, sent: list[volume_files.Transfer]
) -> None:
    said: list[str] = []
    for _ in range(2):
        volume_files.upload(volume, {file: "uploads/x/data.bin"}, said.append)
    assert (plane.volume("cache") / "uploads/x/data.bin").read_bytes() == file.read_bytes()
    assert but_how_far(said) == ["uploading 1 file, 41.9 MB"]
    assert [transfer.moved for transfer in sent] == [file.stat().st_size]


def test_storage_that_fails_for_a_moment_is_not_counted_twice(
    plane: Plane, volume: modal.Volume, file: Path, sent: list[volume_files.Transfer]
) -> None:
    plane.faults.append(HttpFault("block", status=500, times=2))
    volume_files.upload(volume, {file: "uploads/x/data.bin"}, lambda _: None)
    assert [transfer.moved for transfer in sent] == [file.stat().st_size]


def test_an_upload_that_broke_off_is_taken_up_again_without_sending_a_block_twice(
    plane: Plane, volume: modal.Volume, file: Path, sent: list[volume_files.Transfer]
) -> None:
    said: list[str] = []
    waited: list[float] = []
    plane.faults.append(Fault("VolumePutFiles2", Status.INTERNAL, times=4, passed=1))
    volume_files.upload(volume, {file: "uploads/x/data.bin"}, said.append, waited.append)
    assert but_how_far(said) == [
        "uploading 1 file, 41.9 MB",
        "the upload broke off (InternalError); going on where it was",
    ]
    assert waited == [1.0]
    assert [transfer.moved for transfer in sent] == [file.stat().st_size, 0]


def test_after_a_kill_only_the_blocks_that_are_missing_go(
    plane: Plane, volume: modal.Volume, file: Path, sent: list[volume_files.Transfer]
) -> None:
    plane.faults.append(HttpFault("block", status=500, times=None, passed=2))
    before = len(list((plane.folder / "contents").iterdir()))
    client = subprocess.Popen([sys.executable, "-c", UPLOAD, str(file)], env={**os.environ, **plane.client_env()})
    plane.wait_until(lambda: len(list((plane.folder / "contents").iterdir())) == before + 2)
    client.kill()
    client.wait()
    plane.faults.clear()
    volume_files.upload(volume, {file: "uploads/x/data.bin"}, lambda _: None)
    assert [transfer.moved for transfer in sent] == [(BLOCKS - 2) * BLOCK_BYTES]
    assert (plane.volume("cache") / "uploads/x/data.bin").read_bytes() == file.read_bytes()


def test_a_file_that_changes_on_the_way_does_not_stand_under_the_old_one_s_name(
    plane: Plane, volume: modal.Volume, file: Path
) -> None:
    def change(text: str) -> None:
        file.write_bytes(b"other")

    with pytest.raises(SftrunError, match="was changed while it was uploaded"):
        volume_files.upload(volume, {file: "uploads/x/data.bin"}, change)
    assert not (plane.volume("cache") / "uploads/x/data.bin").exists()
