"""What an attempt's end means to Modal, and what an attempt before left on the board."""

import errno
import json
from pathlib import Path

import modal
import pytest

from sftrun.contract import events
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import JobSpec
from sftrun.run.modal.container.functions import commit, forget_unrecorded, recover, verdict

CHECKPOINT = events.Checkpoint(step=5, path="/c", seconds=0.1)


def failed(kind: str) -> AnyEvent:
    return events.Failed.model_validate({"failure": kind, "stage": "train", "message": "m"})


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([events.Finished(step=9, train_loss=1.0, output_dir="/o")], "done"),
        ([events.Stopped(reason="user", step=3)], "done"),
        ([events.Stopped(reason="budget", step=3)], "done"),
        ([events.Stopped(reason="timeout", step=3)], "again"),
        ([events.Stopped(reason="preempted", step=3)], "taken"),
        ([failed("killed")], "again"),
        ([failed("out_of_memory")], "done"),
        ([failed("data")], "done"),
        ([failed("killed"), failed("killed")], "done"),
        ([failed("killed"), CHECKPOINT, failed("killed")], "again"),
        ([], "done"),
    ],
)
def test_an_end_is_the_end_unless_a_new_container_helps(seen: list[AnyEvent], said: str) -> None:
    assert verdict(seen) == said


def test_what_was_posted_and_not_committed_comes_back_into_the_record(tmp_path: Path) -> None:
    line = events.dump(events.Note(seq=1, message="one"))
    (tmp_path / "events.jsonl").write_text(line + "\n")
    recover(tmp_path, [events.dump(events.Note(seq=2, message="two"))])
    numbers = [json.loads(each)["seq"] for each in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert numbers == [1, 2]


def test_lines_that_do_not_follow_the_record_are_left_alone(tmp_path: Path) -> None:
    recover(tmp_path, [events.dump(events.Note(seq=5, message="five"))])
    assert not (tmp_path / "events.jsonl").exists()


class Volume:
    """A Volume whose commits fail as they are told to."""

    name = "outputs"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def commit(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def test_a_commit_that_fails_is_tried_again() -> None:
    waited: list[float] = []
    commit(Volume(RuntimeError("conflict"), modal.exception.InternalError("x")), waited.append)  # type: ignore[arg-type]
    assert waited == [1.0, 2.0]


def test_a_full_volume_is_said_at_once_and_as_a_full_disk() -> None:
    with pytest.raises(OSError, match="the Volume is full") as caught:
        commit(Volume(modal.exception.ResourceExhaustedError("quota")))  # type: ignore[arg-type]
    assert caught.value.errno == errno.ENOSPC


def test_a_commit_that_never_works_is_an_error_of_the_disk() -> None:
    with pytest.raises(OSError, match="can't be committed"):
        commit(Volume(*[RuntimeError("no")] * 9), lambda _: None)  # type: ignore[arg-type]


def test_a_checkpoint_that_the_record_does_not_know_is_dropped(tmp_path: Path) -> None:
    for step in (5, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
    job = JobSpec.model_construct(checkpoints_dir=str(tmp_path))
    forget_unrecorded(job, [CHECKPOINT])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]
