"""What the system refuses, in words; and nothing half-written is left."""

import errno
import os
from pathlib import Path

import pytest

from sftrun.disk.commands import read_text, translated, write_file
from sftrun.errors import LedgerError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_file(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="the disk is full") as caught:
        write_file(path, "new")
    assert "free some space" in (caught.value.help or "")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_disk_is_said_so() -> None:
    with (
        pytest.raises(LedgerError, match=r"can't write `.*`: the disk is full"),
        translated("write", Path("/dev/full")),
        open("/dev/full", "w") as file,
    ):
        file.write("x" * 100_000)


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="is a file, not a folder"):
        write_file(tmp_path / "file" / "a.json", "x")


def test_what_cant_be_written_is_named_and_no_file_that_nobody_asked_for(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"can't write `{tmp_path}/gone`: it is not there"):
        write_file(tmp_path / "gone" / "page.html", "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=f"can't write `{tmp_path}/file/a.json`: a part of that path is a file"):
        write_file(tmp_path / "file" / "a.json", "x")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LedgerError, match="is damaged: it is no UTF-8 text"):
        read_text(tmp_path / "a")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"can't read `.*gone`: it is not there"):
        read_text(tmp_path / "gone")
