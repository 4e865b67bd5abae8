"""Where the output has no room or nobody listens, that is no bug of ours."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SFTRUN = f"{sys.executable} -m sftrun explain R101"


def said(line: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, cwd=cwd, check=False
    )
    return done.returncode, done.stderr


ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_behind_stdout_is_said_in_a_line() -> None:
    code, text = said(f"{SFTRUN} > /dev/full", ROOT)
    assert code == 1
    assert (
        text == "error: the output can't be written: no space left on device\n  help: make room, or send it elsewhere\n"
    )


def test_a_reader_that_leaves_is_no_error() -> None:
    code, text = said(f"{SFTRUN} | true", ROOT)
    assert (code, text) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    assert said(f"{SFTRUN} {closed}", ROOT) == (0, "")
