"""A look that hangs leaves the watcher free, and says so; a refusal comes out where one asks."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modal.exception
import pytest

from sftrun.errors import RemoteError
from sftrun.run.ledger import RunFolder
from sftrun.run.modal import call
from sftrun.run.modal import watch as modal_watch
from sftrun.run.modal.call import Answer, Remote
from sftrun.run.modal.watch import Watch

KNOWN = Remote(
    app_id="ap-1", call_id="fc-1", dashboard="d", volume="v", record="r", started=1.0, user="me", waits={"image": 1.0}
)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    call.write(RunFolder(tmp_path), KNOWN)
    return Watch(RunFolder(tmp_path))


def answering(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], Answer]) -> None:
    monkeypatch.setattr(call, "ask", act)


def test_a_modal_that_hangs_does_not_hold_the_watcher(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = threading.Event()

    def hang(call_id: str) -> Answer:
        released.wait(60)
        raise modal.exception.ConnectionError("gone")

    answering(monkeypatch, hang)
    for name in ("FIRST_SECONDS", "LATER_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(modal_watch, name, 0.0)
    holder: Any = watch.look().look().holder
    assert holder.user == "me"
    assert "Modal can't be reached (it does not answer)" in capsys.readouterr().err
    released.set()
    assert watch._thread is not None
    watch._thread.join()


def test_silence_is_said_once_and_makes_pauses_longer(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, lambda call_id: Answer("unknown", error=OSError("no route")))
    monkeypatch.setattr(modal_watch, "PATIENCE_SECONDS", 0.0)
    watch.look().look()
    watch.look()
    assert capsys.readouterr().err.count("no route") == 1


def test_a_lost_token_is_an_error_where_one_asks(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(call_id: str) -> Answer:
        raise modal.exception.AuthError("Token missing.")

    answering(monkeypatch, refuse)
    with pytest.raises(RemoteError, match="does not know this machine"):
        watch.look()


def test_a_run_that_has_ended_and_was_read_costs_no_look(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    call.write(watch.folder, KNOWN.model_copy(update={"settled": True}))
    answering(monkeypatch, lambda call_id: pytest.fail("asked"))
    assert watch.look().holder is None
