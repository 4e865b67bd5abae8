"""A stop is a file, or a deadline that a process has been given."""

import time
from pathlib import Path

import pytest

from sftrun.contract import stopping


def test_nothing_was_asked(tmp_path: Path) -> None:
    assert stopping.requested(tmp_path) is None


@pytest.mark.parametrize(("ahead", "reason"), [(3600.0, None), (-1.0, "budget")])
def test_a_deadline_that_is_over_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float, reason: str | None
) -> None:
    for name, value in stopping.by_itself(time.monotonic() + ahead).items():
        monkeypatch.setenv(name, value)
    assert stopping.requested(tmp_path) == reason


def test_who_asked_is_right_before_the_deadline_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stopping.DEADLINE, "0")
    stopping.request(tmp_path, "user")
    assert stopping.requested(tmp_path) == "user"
