"""Ctrl-C and the live view, through a real terminal (a pty)."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pytest

from tests import patience
from tests.run.cli_runs import Place

CTRL_C = b"\x03"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, place: Place, *arguments: str, columns: int = 80, **environment: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *place.command(*arguments)],
            cwd=place.path,
            env=place.environment(**environment),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.seen = ""

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def read_until(self, is_so: Callable[[str], bool], seconds: float = patience.SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not is_so(self.seen):
            assert time.monotonic() < deadline, self.seen
            if not self._read():
                assert is_so(self.seen), self.seen

    def finish(self) -> int:
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(patience.SECONDS)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 0.2)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def test_ctrl_c_once_stops_with_a_checkpoint(place: Place) -> None:
    terminal = Terminal(place, "apply", "r.yaml", FAKE_HOLD_AT="7")
    terminal.read_until(lambda seen: "7/20" in seen)
    terminal.press(CTRL_C)
    assert terminal.finish() == 4
    assert "stopping at the next step, with a checkpoint; press Ctrl-C again to stop at once" in terminal.seen
    assert place.kinds()[-2:] == ["checkpoint", "stopped"]


def test_ctrl_c_twice_stops_at_once(place: Place) -> None:
    terminal = Terminal(place, "apply", "r.yaml", FAKE_STEP_SECONDS="60")
    terminal.read_until(lambda seen: "train" in seen)
    terminal.press(CTRL_C)
    terminal.read_until(lambda seen: "stopping at the next step" in seen)
    terminal.press(CTRL_C)
    assert terminal.finish() == 130
    assert "stopped at once" in terminal.seen


def test_ctrl_c_in_attach_detaches(place: Place) -> None:
    place.sftrun("apply", "r.yaml", "--detach", FAKE_HOLD_AT="7")
    terminal = Terminal(place, "attach", "tryout")
    terminal.read_until(lambda seen: "7/20" in seen)
    terminal.press(CTRL_C)
    assert terminal.finish() == 0
    place.release()
    assert "detached; the run goes on" in terminal.seen
    assert place.sftrun("attach", "tryout").returncode == 0


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_gets_no_escape_codes(place: Place, environment: dict[str, str]) -> None:
    terminal = Terminal(place, "apply", "r.yaml", **environment)
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.seen
    assert "step 20/20" in terminal.seen


@pytest.mark.parametrize("columns", [80, 200])
def test_the_live_view_shows_the_run_and_leaves_the_cursor(place: Place, columns: int) -> None:
    terminal = Terminal(place, "apply", "r.yaml", columns=columns, FAKE_STEP_SECONDS="0.05")
    assert terminal.finish() == 0
    assert "tok/s" in terminal.seen
    assert terminal.seen.rindex("\x1b[?25h") > terminal.seen.rindex("\x1b[?25l")
