"""A run on two machines of Modal's: one curve, one voice, and one attempt that ends for both."""

import json
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from modal_plane.state import Task
from tests.job.runs import worker_below
from tests.run.modal_desk import WAIT, Desk, losses, opened, recorded, started
from tests.warm.start import FORKING_AGENT

pytestmark = pytest.mark.slow
# few enough that nothing is compiled
STEPS = ("trainer.max_steps=24", "trainer.save_steps=2")
ONE = (*STEPS, "compute.gpu=A10", "trainer.per_device_train_batch_size=8")
TWO = (*STEPS, "compute.gpu=A10:4", "compute.nodes=2", "trainer.per_device_train_batch_size=1")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Eight processes, which two agents fork."""
    with opened(tmp_path, preemption_grace_seconds=60.0, container_env=FORKING_AGENT) as desk:
        yield desk


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The curve of one process that takes the same rows a step."""
    with opened(tmp_path_factory.mktemp("alone")) as desk:
        return losses(desk.events("apply", "recipe.yaml", *sets(ONE)))


def sets(changes: tuple[str, ...]) -> list[str]:
    return [word for each in changes for word in ("--set", each)]


def test_two_machines_make_one_curve_through_the_loss_of_one_of_them(desk: Desk, alone: dict[int, float]) -> None:
    desk.run("apply", "recipe.yaml", *sets(TWO), "--detach")
    desk.wait_for('"kind":"checkpoint"')
    assert desk.plane.kill_containers(rank=1) == 1
    seen = desk.events("attach", "remote")
    assert seen[-1]["kind"] == "finished"
    assert seen == recorded(desk)
    assert [attempt for attempt, _ in started(seen)] == [1, 2]
    assert started(seen)[1][1] is not None
    assert losses(seen) == pytest.approx(alone, abs=2e-5)
    assert sorted(task.rank for task in desk.plane.tasks) == [0, 0, 1, 1]


def test_what_a_machine_says_of_its_end_is_the_attempt_s(desk: Desk, alone: dict[int, float]) -> None:
    desk.run("apply", "recipe.yaml", *sets(TWO), "--detach")
    desk.wait_for('"kind":"checkpoint"')
    os.kill(worker_below(second(desk).pid), signal.SIGKILL)
    seen = desk.events("attach", "remote")
    assert seen[-1]["kind"] == "finished"
    ends = [event["message"] for event in seen if event["kind"] == "failed"]
    assert ends == ["machine 2 of 2: the worker was killed (SIGKILL) in stage `train`"]
    assert losses(seen) == pytest.approx(alone, abs=2e-5)


def test_one_machine_that_is_taken_away_takes_the_other_along_with_a_checkpoint(desk: Desk) -> None:
    desk.run("apply", "recipe.yaml", *sets((*TWO, "trainer.max_steps=190", "trainer.save_steps=10")), "--detach")
    desk.wait_for('"kind":"checkpoint"')
    assert desk.plane.preempt(rank=1) == 1
    desk.wait_for('"attempt":2')
    desk.run("cancel", "remote", "--now")
    stopped = next(event for event in recorded(desk) if event["kind"] == "stopped")
    assert stopped["reason"] == "preempted"
    assert started(recorded(desk)) == [(1, None), (2, stopped["step"])]


def test_a_stop_that_is_asked_for_while_an_attempt_begins_is_obeyed(desk: Desk) -> None:
    desk.run("apply", "recipe.yaml", *sets(TWO), "--detach")
    desk.wait_for('"kind":"checkpoint"')
    desk.plane.settings.commit_delay_seconds = 3.0  # longer than the board takes to hear of it
    assert desk.plane.kill_containers() == 2
    desk.run("cancel", "remote")
    attached = desk.start("attach", "remote")
    _, said = attached.communicate(timeout=WAIT)
    assert attached.returncode == 4, said
    assert (recorded(desk)[-1]["kind"], recorded(desk)[-1]["reason"]) == ("stopped", "user")


def test_a_cluster_is_asked_for_and_paid_for_by_all_its_gpus(desk: Desk) -> None:
    desk.plane.inject("gpu_queued")
    desk.run("apply", "recipe.yaml", *sets(TWO), "--detach")
    request = next(rpc for rpc in desk.plane.calls if rpc.name == "FunctionCreate").request
    created = request.function_data.ranked_functions[0].function
    assert (created._experimental_group_size, created.resources.gpu_config.count) == (2, 4)
    desk.run("cancel", "remote")
    desk.run("apply", "recipe.yaml", *sets((*STEPS, "compute.gpu=A10:4", "trainer.seed=5")), "--detach")
    desk.run("cancel", "remote")
    jobs = [json.loads(path.read_text()) for path in desk.folder.glob("ledger/runs/*/job.json")]
    rates = {job["nodes"]: Decimal(job["money"]["usd_per_second"]) for job in jobs}
    assert rates[2] == 2 * rates[1]


def second(desk: Desk) -> Task:
    return next(task for task in desk.plane.working() if task.rank == 1)
