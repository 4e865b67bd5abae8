import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# tests are imported by path (importmode=importlib), so what they share is loaded by path too
_spec = importlib.util.spec_from_file_location("cli_runs", Path(__file__).parent / "cli_runs.py")
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["cli_runs"] = _module
_spec.loader.exec_module(_module)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Any]:
    """A working folder; supervisors that a test left behind are ended with it."""
    made = _module.Place.make(tmp_path)
    yield made
    for run in made.runs:
        with suppress(Exception):
            import json

            os.kill(json.loads((run / "lock").read_text())["pid"], signal.SIGKILL)
