"""Work for containers: the jobs of `jobs/`, and the small words with which a test speaks of them."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modal

from .plane import Plane

JOBS = Path(__file__).with_name("jobs")
if str(JOBS) not in sys.path:
    sys.path.insert(0, str(JOBS))
jobs: Any = importlib.import_module("plane_jobs")  # by the one name that containers know too

DATA = "/data/checkpoints"
WAIT = 1200.0
Call = modal.FunctionCall[Any]
Spawn = Callable[..., Call]


def image() -> modal.Image:
    """The least that a job needs."""
    return modal.Image.debian_slim().add_local_python_source("plane_jobs")


def volume(client: modal.Client, name: str = "checkpoints") -> modal.Volume:
    return modal.Volume.from_name(name, create_if_missing=True, version=2, client=client)


def holds(plane: Plane, times: int = 1) -> None:
    """Wait until jobs have said so many times that they hold."""
    plane.wait_until(lambda: plane.output().count("holding") >= times, WAIT, "the job holds")


def status(call: Call) -> str:
    return call.get_call_graph()[0].status.name
