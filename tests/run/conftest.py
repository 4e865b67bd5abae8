import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.run.cli_runs import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A working folder; supervisors that a test left behind are ended with it."""
    made = Place.make(tmp_path)
    yield made
    for run in made.runs:
        with suppress(Exception):
            os.kill(json.loads((run / "lock").read_text())["pid"], signal.SIGKILL)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Any]:
    """A user's desk with a Modal of its own."""
    from tests.run.modal_desk import opened  # Modal's client takes a second to load, and most tests here need none

    with opened(tmp_path, preemption_grace_seconds=60.0) as desk:
        yield desk
