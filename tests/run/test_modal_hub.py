"""The stage without a GPU: the Hub's own client fetches a model, once, before the container that costs starts."""

import subprocess
from collections.abc import Iterator

import pytest

from modal_plane.faults import Fault
from tests.hub_for_tests import COMMIT, Hub, serve
from tests.run.modal_desk import ROOT, WAIT, Desk, recorded

pytestmark = pytest.mark.slow
NAME = "tester/tiny"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve(NAME, ROOT / "sftrun/builtin/tiny") as hub:
        yield hub


def apply(desk: Desk, hub: Hub, *more: str) -> subprocess.Popen[str]:
    sets = (f"model.name_or_path={NAME}", f"compute.image.env.HF_ENDPOINT={hub.url}", "trainer.max_steps=2", *more)
    words = [word for each in sets for word in ("--set", each)]
    return desk.start("apply", "recipe.yaml", *words, HF_ENDPOINT=hub.url, HF_HOME=str(desk.folder / "hub"))


def functions(desk: Desk) -> list[str]:
    return [task.function.name for task in desk.plane.tasks]


def test_a_model_is_fetched_once_and_by_the_cheap_container(desk: Desk, hub: Hub) -> None:
    first = apply(desk, hub)
    _, said = first.communicate(timeout=WAIT)
    assert first.returncode == 0, said
    assert "fetching model and data, on a container without a GPU" in said
    assert functions(desk) == ["prepare", "execute"]
    assert [event["was_ready"] for event in recorded(desk) if event["kind"] == "data_ready"] == [True]
    weights = [asked for asked in hub.asked if asked.startswith("GET") and asked.endswith("model.safetensors")]
    assert weights[-1] == f"GET /{NAME}/resolve/{COMMIT}/model.safetensors"
    count = len(weights)
    second = apply(desk, hub, "trainer.seed=8", "output.dir=/out/other", "trainer.learning_rate=2.0e-3")
    _, said = second.communicate(timeout=WAIT)
    assert second.returncode == 0, said
    assert functions(desk) == ["prepare", "execute", "execute"]
    assert sum(f"resolve/{COMMIT}/model.safetensors" in asked for asked in hub.asked if asked[0] == "G") == 1
    assert count >= 1


def test_a_gated_model_is_one_clear_sentence_and_no_gpu(desk: Desk, hub: Hub) -> None:
    hub.is_gated = True
    client = apply(desk, hub)
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 3, said
    assert f"the model `{NAME}` is gated: accept its terms at huggingface.co/{NAME}" in said
    assert functions(desk) == ["prepare"]


def test_what_the_cheap_container_had_started_unseen_does_not_outlive_a_cancel(desk: Desk, hub: Hub) -> None:
    desk.plane.inject("gpu_queued")
    desk.plane.faults.append(Fault("FunctionMap", side="container", after=True, times=None))
    client = apply(desk, hub, "compute.gpu=L4", "trainer.max_steps=50")
    desk.plane.wait_until(lambda: _spawned(desk), WAIT, "the call that trains")
    desk.run("cancel", "remote", "--now")
    _, said = client.communicate(timeout=WAIT)
    assert client.returncode == 4, said
    desk.plane.settings.gpu_delay_seconds.clear()
    desk.plane.wait_until(lambda: "execute" in functions(desk) and not desk.plane.world.running_tasks(), WAIT, "an end")
    seen = recorded(desk)
    assert (seen[-1]["kind"], seen[-1]["reason"], seen[-1]["step"]) == ("stopped", "user", 0)


def _spawned(desk: Desk) -> bool:
    return any(call.name == "FunctionMap" and call.task_id for call in list(desk.plane.calls))
