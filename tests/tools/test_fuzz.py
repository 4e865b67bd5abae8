"""A bounded part of the fuzzing, the same cases each time; `make fuzz` runs it at length, with a seed of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recipes", "data", "models", "ledgers"])
def test_no_harm_is_believed_and_none_crashes_a_command(kind: str) -> None:
    command = [sys.executable, "-m", "tools.fuzz", kind, "--count", "25", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
