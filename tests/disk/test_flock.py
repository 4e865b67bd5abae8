"""A lock is the kernel's word; its file says whose it is."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sftrun.disk import flock
from sftrun.disk.flock import Holder, exclusive, holder, myself
from sftrun.errors import RunBusy

HOLD = """
import sys
from pathlib import Path
from sftrun.disk.flock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_lock_tells_its_holder(tmp_path: Path) -> None:
    with hold(tmp_path / "l") as child:
        who = holder(tmp_path / "l")
        assert who is not None
        assert (who.pid, who.user) == (child.pid, myself().user)
        child.communicate("")
    assert holder(tmp_path / "l") is None


def test_kill_9_frees_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "l") as child:
        child.kill()
        child.wait()
        assert holder(tmp_path / "l") is None


def test_a_number_that_lives_again_does_not_hold_the_lock(tmp_path: Path) -> None:
    (tmp_path / "l").write_text(json.dumps(vars(myself())))
    assert holder(tmp_path / "l") is None


def test_no_file_is_no_holder(tmp_path: Path) -> None:
    assert holder(tmp_path / "l") is None


def test_who_comes_second_is_told_and_waits(tmp_path: Path) -> None:
    with hold(tmp_path / "l") as child:
        told: list[Holder] = []

        def free(who: Holder) -> None:
            told.append(who)
            assert child.stdin is not None
            child.stdin.close()

        with exclusive(tmp_path / "l", free):
            assert [who.pid for who in told] == [child.pid]


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flock, "PATIENCE_SECONDS", 0.0)
    with hold(tmp_path / "l") as child:
        with pytest.raises(RunBusy, match=rf"process {child.pid}, for \d+ s\) holds"), exclusive(tmp_path / "l"):
            pass
        child.communicate("")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[1]",
        '{"pid": 1e400, "host": "h", "user": "u", "since": 0}',
        '{"pid": 123456789012345678901234567890, "host": "h", "user": "u", "since": 0}',
        '{"pid": 1, "host": "h", "user": "u", "since": NaN}',
        '{"pid": -1, "host": "h", "user": "u", "since": 0}',
        '{"pid": "1", "host": "h", "user": "u", "since": 0}',
    ],
)
def test_a_lock_that_is_held_is_held_whatever_stands_in_its_file(tmp_path: Path, said: str) -> None:
    with hold(tmp_path / "l") as child:
        (tmp_path / "l").write_text(said)
        who = holder(tmp_path / "l")
        assert who is not None
        assert (who.pid, who.user) == (0, "?")
        child.communicate("")


def test_whoever_inherits_the_descriptor_holds_the_lock_too(tmp_path: Path) -> None:
    descriptor = flock.acquire(tmp_path / "l", lambda _: None)
    heir = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=(descriptor,), stdin=subprocess.PIPE
    )
    os.close(descriptor)
    assert holder(tmp_path / "l") is not None
    heir.communicate()
    assert holder(tmp_path / "l") is None


def test_a_holder_is_here_only_with_its_very_process() -> None:
    me = myself()
    assert me.is_here()
    for other in ({"boot": "another life"}, {"boot": "", "host": "other-host"}):
        stranger = replace(me, **other)
        assert (stranger.is_here(), stranger.is_gone()) == (False, False)
    reborn = replace(me, started=me.started + 1)
    assert (reborn.is_here(), reborn.is_gone()) == (False, True)


def test_a_machine_that_got_another_name_is_still_this_one() -> None:
    assert replace(myself(), host="renamed").is_here()


def test_no_signal_goes_to_another_process_of_that_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        there = replace(myself(), pid=child.pid, started=flock.began(child.pid) or 0)
        for stranger in (replace(there, started=1), replace(there, boot="another life"), replace(there, pid=0)):
            assert not flock.send(stranger, signal.SIGTERM)
        assert child.poll() is None
        assert flock.send(there, signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
