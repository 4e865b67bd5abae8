"""A digest is of all that a file holds, in whatever pieces it is read."""

from pathlib import Path

import pytest

from sftrun.disk import digests


def test_each_byte_of_each_piece_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "PIECE_BYTES", 16)
    file = tmp_path / "f"
    seen = set()
    for at in range(50):
        file.write_bytes(bytes(at) + b"x" + bytes(49 - at))
        seen.add(digests.of_file(file))
    assert len(seen) == 50


def test_an_empty_file_has_one_too(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert len(digests.of_file(tmp_path / "f")) == 64


def test_the_same_bytes_have_the_same_digest(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_bytes(b"x" * 3_000_000)
    assert len(set(digests.of_files(files))) == 1
