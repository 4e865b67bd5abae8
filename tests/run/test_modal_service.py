"""What Modal's service does that a client may not expect: older Volumes, lost replies, graphs that come late."""

import modal.exception
import pytest
from modal_proto import api_pb2

from modal_plane.faults import Fault
from sftrun.run.modal import call
from tests.run.modal_desk import WAIT, Desk


@pytest.mark.slow
def test_volumes_that_are_there_are_taken_as_they_are(desk: Desk) -> None:
    plane = desk.plane
    for name in ("outputs", "sftrun-cache"):
        plane.thread.run(lambda name=name: plane.volumes.add(name, api_pb2.VOLUME_FS_VERSION_V1))
    seen = desk.events("apply", "recipe.yaml", "--yes", "--set", "trainer.max_steps=4", "--set", "trainer.save_steps=2")
    assert seen[-1]["kind"] == "finished"
    assert plane.volumes.named("outputs").version == api_pb2.VOLUME_FS_VERSION_V1


@pytest.mark.slow
def test_a_spawn_whose_replies_are_lost_leaves_nothing_running(desk: Desk) -> None:
    desk.plane.faults.append(Fault("FunctionMap", after=True, times=None))
    process = desk.start("apply", "recipe.yaml", "--yes")
    process.communicate(timeout=WAIT)
    assert process.returncode == 7
    desk.plane.wait_until(
        lambda: not desk.plane.world.running_tasks(), WAIT, "the App is stopped, and its container with it"
    )


def test_a_cancel_is_a_cancel_without_a_graph() -> None:
    assert call._without_a_graph(modal.exception.RemoteError("")) == "cancelled"
    assert call._without_a_graph(modal.exception.RemoteError("out of memory")) == "failed"
    assert call._without_a_graph(ValueError("")) == "failed"
