"""A checkpoint counts when its own marker stands and every file is as long as it says."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sftrun.errors import SftrunError
from sftrun.job.supervise import checkpoints


def make(folder: Path, step: int, run_id: str = "r") -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(b"w" * 100)
    (path / "optimizer.pt").write_bytes(b"o" * 50)
    checkpoints.complete(path, run_id, step)
    return path


def test_the_newest_whole_one_is_found_by_number(tmp_path: Path) -> None:
    for step in (9, 10, 2):
        make(tmp_path, step)
    found = checkpoints.find(tmp_path, "r")
    assert (found.newest, found.step, found.torn) == (tmp_path / "checkpoint-10", 10, ())


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.find(tmp_path / "none", "r").newest is None


DAMAGE: dict[str, Callable[[Path], object]] = {
    "it was never completed": lambda path: (path / checkpoints.MARKER).unlink(),
    "its marker is damaged": lambda path: (path / checkpoints.MARKER).write_text('{"files": '),
    "optimizer.pt is missing": lambda path: (path / "optimizer.pt").unlink(),
    "optimizer.pt has 20 bytes instead of 50": lambda path: os.truncate(path / "optimizer.pt", 20),
    "it belongs to another run": lambda path: checkpoints.complete(path, "other", 5),
}


@pytest.mark.parametrize("why", DAMAGE)
def test_a_torn_one_is_passed_over_with_its_reason(why: str, tmp_path: Path) -> None:
    good, bad = make(tmp_path, 3), make(tmp_path, 5)
    DAMAGE[why](bad)
    found = checkpoints.find(tmp_path, "r")
    assert (found.newest, found.torn) == (good, ((bad, why),))


def test_old_ones_go_but_never_the_newest_nor_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        make(tmp_path, step)
    checkpoints.rotate(tmp_path, 2, keep=str(tmp_path / "checkpoint-1"))
    assert [step for step, _ in checkpoints.steps(tmp_path)] == [1, 4]
    checkpoints.rotate(tmp_path, 1, keep=None)
    assert [step for step, _ in checkpoints.steps(tmp_path)] == [4]


def test_without_a_limit_all_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        make(tmp_path, step)
    checkpoints.rotate(tmp_path, None, keep=None)
    assert len(checkpoints.steps(tmp_path)) == 3


def test_the_marker_says_what_is_there(tmp_path: Path) -> None:
    path = make(tmp_path, 7)
    marker = json.loads((path / checkpoints.MARKER).read_text())
    assert marker["files"] == {"adapter_model.safetensors": 100, "optimizer.pt": 50}
    assert marker["sha256"].keys() == marker["files"].keys()
    assert (marker["run_id"], marker["step"]) == ("r", 7)


def flip(path: Path, at: int, bits: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


def test_one_flipped_bit_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    good, bad = make(tmp_path, 3), make(tmp_path, 5)
    flip(bad / "optimizer.pt", 17)
    found = checkpoints.find(tmp_path, "r", by_content=True)
    assert found.newest == good
    assert found.torn == ((bad, "optimizer.pt does not hold what was written"),)


def test_older_ones_are_not_read_while_the_newest_is_right(tmp_path: Path) -> None:
    bad, good = make(tmp_path, 3), make(tmp_path, 5)
    flip(bad / "optimizer.pt", 17)
    assert checkpoints.find(tmp_path, "r", by_content=True) == checkpoints.Found(good, 5, ())


def test_a_marker_of_sizes_alone_is_still_read(tmp_path: Path) -> None:
    path = make(tmp_path, 5)
    marker = json.loads((path / checkpoints.MARKER).read_text())
    del marker["sha256"]
    (path / checkpoints.MARKER).write_text(json.dumps(marker | {"version": 1}))
    assert checkpoints.find(tmp_path, "r", by_content=True).newest == path


def test_a_checkpoint_of_a_later_release_is_neither_used_nor_dropped(tmp_path: Path) -> None:
    path = make(tmp_path, 5)
    marker = json.loads((path / checkpoints.MARKER).read_text())
    (path / checkpoints.MARKER).write_text(json.dumps(marker | {"version": 3}))
    with pytest.raises(SftrunError, match="of a later sftrun"):
        checkpoints.find(tmp_path, "r")


@pytest.mark.parametrize("name", ["../other", "/dev/zero", "pipe", "a\0b"])
def test_a_marker_names_only_files_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").write_bytes(b"")
    path = make(tmp_path, 5)
    os.mkfifo(path / "pipe")
    marker = json.loads((path / checkpoints.MARKER).read_text())
    marker["files"][name], marker["sha256"][name] = 0, ""
    (path / checkpoints.MARKER).write_text(json.dumps(marker))
    assert checkpoints.fault(path, "r", by_content=True) == f"{name} is missing"


def test_each_of_a_thousand_flips_is_noticed_or_harmless(tmp_path: Path) -> None:
    from benchmarks import flips

    path = make(tmp_path, 5)
    assert flips.silent(flips.campaign(path, "r", flips=1000, seed=1)) == []
