"""Files and folders that are whole or not there, whoever is killed in the middle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sftrun.disk import files

KILLED = """
import os, signal, sys
from pathlib import Path
from sftrun.disk import files
with files.replacing(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write(path, "old")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.read_text() == "old"
    assert len(list(tmp_path.glob(f".*{files.UNFINISHED}"))) == 1


def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a")], check=False)
    (left,) = tmp_path.iterdir()
    files.sweep(tmp_path)
    assert left.exists()
    os.utime(left, (0, time.time() - 2 * 86_400))
    files.sweep(tmp_path)
    assert not left.exists()


def test_a_writer_that_fails_leaves_nothing_beside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.replacing(tmp_path / "a") as beside:
        beside.write_text(str(1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from sftrun.disk import files\n" + (
        "for n in range(50): files.write(Path(sys.argv[1]), sys.argv[2] * 5000, durable=False)"
    )
    path = tmp_path / "a"
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), letter]) for letter in "abcd"]
    files.write(path, "a" * 5000)
    while any(writer.poll() is None for writer in writers):
        found = path.read_text()
        assert (len(found), len(set(found))) == (5000, 1)
    assert os.listdir(tmp_path) == ["a"]


def test_the_mode_of_a_file_stays_and_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("real")
    files.write(link, b"new")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_new_file_gets_the_mode_that_the_system_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write(tmp_path / "a", "x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match=r"/a'$") as caught:
        files.write(tmp_path / "a", "x")
    assert caught.value.filename == str(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    files.write(tmp_path / ("n" * 255), "x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_a_folder_takes_another_s_place_which_is_kept(tmp_path: Path) -> None:
    new, place, old = (tmp_path / name for name in ("new", "place", "old"))
    for folder in (new, place):
        folder.mkdir()
        (folder / folder.name).write_text("")
    files.put_folder(new, place, old)
    assert (os.listdir(place), os.listdir(old), new.exists()) == (["new"], ["place"], False)


def test_a_folder_that_cannot_be_put_leaves_the_old_one_standing(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "kept").write_text("")
    with pytest.raises(FileNotFoundError):
        files.put_folder(tmp_path / "gone", place, tmp_path / "old")
    assert os.listdir(place) == ["kept"]
