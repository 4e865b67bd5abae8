"""What tests that run against a plane share: the plane, a client, and a way to spawn a job.

A test module takes them with `pytest_plugins = ["modal_plane.fixtures"]`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from .plane import Plane
from .work import DATA, Call, Spawn, image, volume


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with Plane(tmp_path / "plane", preemption_grace_seconds=60.0) as plane:
        yield plane
    assert not plane.bugs
    assert not plane.missing


@pytest.fixture
def client(plane: Plane) -> Iterator[modal.Client]:
    with plane.client() as client:
        yield client


@pytest.fixture
def spawn(plane: Plane, client: modal.Client) -> Spawn:
    """Spawn one of the jobs in a detached App of its own, leave the App, and take the call up again by its id."""

    def start(job: Callable[..., Any], *args: object, **options: Any) -> Call:
        app = modal.App("tried", include_source=False, tags={"run": "r1"})
        settings: dict[str, Any] = {"image": image(), "single_use_containers": True, "volumes": {DATA: volume(client)}}
        function = app.function(name="job", **{**settings, **options})(job)
        with app.run(detach=True, client=client):
            call = function.spawn(*args)
        return modal.FunctionCall.from_id(call.object_id, client=client)

    return start
