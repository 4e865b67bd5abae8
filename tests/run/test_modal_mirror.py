"""What Modal says of an end becomes the event that the job would have written; a torn mirror is mended."""

from pathlib import Path

import modal.exception
import pytest

from sftrun.contract import events
from sftrun.contract.events import Checkpoint, Failed, Started, Step, Stopped
from sftrun.run.ledger import RunFolder
from sftrun.run.modal.call import Answer
from sftrun.run.modal.handover import REFUSED, JobCrashed
from sftrun.run.modal.mirror import _append, last_seq, last_word
from sftrun.run.state import RunState, fold

GATED = Failed(failure="model", stage="start", message="it is gated")
STATE = fold(
    [
        Started(seq=1, at=1.0, run_id="r", attempt=1, host="h", pid=1, device="cpu", gpu_count=0),
        Step(seq=2, at=2.0, step=5, total_steps=9, epoch=0.1, loss=1.0, learning_rate=0.1),
        Checkpoint(seq=3, at=3.0, step=5, path="/c", seconds=0.1),
    ]
)


def test_a_cancelled_call_is_a_stop_with_its_checkpoint() -> None:
    said = last_word(STATE, Answer("ended", "cancelled"))
    assert isinstance(said, Stopped)
    assert (said.reason, said.step, said.checkpoint) == ("user", 5, "/c")


def test_a_timeout_is_a_stop() -> None:
    said = last_word(STATE, Answer("ended", "timeout", "hit its timeout"))
    assert isinstance(said, Stopped)
    assert said.reason == "timeout"


@pytest.mark.parametrize(
    ("answer", "failure", "words"),
    [
        (Answer("ended", "failed", "Container ran out of memory 3 times"), "out_of_memory", "out of memory"),
        (Answer("ended", "failed", "exited with code 1 3 times"), "killed", "exited with code 1"),
        (Answer("ended", "failed", "x", error=JobCrashed("the disk is odd")), "error", "x"),
        (Answer("ended", "never_began", "no such image"), "error", "did not start: no such image"),
        (Answer("ended", "expired", "too old"), "killed", "no longer knows"),
        (Answer("ended", "returned", value=0), "error", "without a word"),
        (Answer("ended", "returned", value=REFUSED + events.dump(GATED)), "model", "it is gated"),
        (Answer("ended", "failed", "No module", error=ModuleNotFoundError("No module", name="a.b")), "package", "`a`"),
    ],
)
def test_other_ends_are_failures_with_modal_s_reason(answer: Answer, failure: str, words: str) -> None:
    said = last_word(STATE, answer)
    assert isinstance(said, Failed)
    assert said.failure == failure
    assert words in said.message


def test_a_run_out_of_memory_is_told_what_to_raise() -> None:
    said = last_word(RunState(), Answer("ended", "failed", "ran out of memory", error=modal.exception.RemoteError("")))
    assert isinstance(said, Failed)
    assert said.help is not None
    assert "compute.memory" in said.help


def test_a_line_that_a_killed_watcher_left_torn_is_written_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    first, second = (events.dump(events.Note(seq=number, message="m")) for number in (1, 2))
    folder.events.write_text(f"{first}\n{second[:9]}")
    assert last_seq(folder) == 1
    _append(folder, [second])
    assert folder.events.read_text() == f"{first}\n{second}\n"


def test_a_token_that_a_library_printed_does_not_reach_the_ledger(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    failed = Failed(seq=1, failure="error", stage="data", message="401", tail=("Bearer hf_plantedPLANTED",))
    _append(folder, [events.dump(failed)])
    assert "PLANTED" not in folder.events.read_text()
    assert events.parse(folder.events.read_text()).seq == 1
