"""Rows on the disk: each by its number, in whatever order and process they are asked for."""

from multiprocessing import get_context
from pathlib import Path

import pytest

from sftrun.job.prepare import spool as spools
from sftrun.job.prepare.spool import Chosen, Spool


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(spools, "BLOCK", 4)
    made = Spool(tmp_path)
    for number in range(11):
        made.append((f"f:{number}", {"text": str(number)}))
    return made


def test_rows_come_back_in_their_order_and_by_number(spool: Spool, tmp_path: Path) -> None:
    assert len(spool) == 11
    assert [row["text"] for row in spool.rows()] == [str(number) for number in range(11)]
    assert spool.places()[3:9] == [f"f:{number}" for number in range(3, 9)]
    assert [spool[number][0] for number in (10, 0, 7, 3)] == ["f:10", "f:0", "f:7", "f:3"]
    assert list(tmp_path.iterdir()) == []  # the file has no name
    with pytest.raises(IndexError):
        spool[11]


def test_some_rows_are_a_sequence_of_their_own(spool: Spool) -> None:
    chosen = Chosen(spool.places(), [1, 5, 9])
    assert list(chosen) == ["f:1", "f:5", "f:9"]
    assert chosen[1:] == ["f:5", "f:9"]


def test_a_forked_process_reads_them_beside_this_one(spool: Spool) -> None:
    with get_context("fork").Pool(2, _inherit, (spool,)) as pool:
        found = pool.map(_place, range(11))
    assert found == [f"f:{number}" for number in range(11)] == list(spool.places())


def _inherit(spool: Spool) -> None:
    global _spool
    _spool = spool


_spool: Spool


def _place(number: int) -> str:
    return _spool[number][0]
