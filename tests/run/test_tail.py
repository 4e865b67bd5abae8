from pathlib import Path

from sftrun.contract.events import Note, dump
from sftrun.run.tail import Tail


def line(seq: int, text: str = "x") -> str:
    return dump(Note(seq=seq, message=text)) + "\n"


def test_reads_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert list(tail.read()) == []
    path.write_text(line(1))
    assert [e.seq for e in tail.read()] == [1]
    with path.open("a") as file:
        file.write(line(2) + line(3))
    assert [e.seq for e in tail.read()] == [2, 3]


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    text = line(1)
    path.write_text(text[:20])
    tail = Tail(path)
    assert list(tail.read()) == []
    assert tail.is_torn
    with path.open("a") as file:
        file.write(text[20:])
    assert [e.seq for e in tail.read()] == [1]
    assert not tail.is_torn


def test_a_torn_end_that_is_cut_away_and_written_over_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(line(1) + '{"seq":2,"kind":"no')
    tail = Tail(path)
    assert [e.seq for e in tail.read()] == [1]
    path.write_text(line(1) + line(2, "another"))
    assert [e.seq for e in tail.read()] == [2]


def test_a_damaged_line_is_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(1).encode() + b"\x00\xff garbage\n" + line(2).encode())
    tail = Tail(path)
    assert [e.seq for e in tail.read()] == [1, 2]
    assert tail.skipped == 1


def test_a_line_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(line(1, "y" * 3_000_000) + line(2))
    assert [e.seq for e in Tail(path).read()] == [1, 2]
