"""A run with an `evaluation`: the base is asked before training, the tuned model after saving; kills lose no answer."""

from pathlib import Path
from typing import Any

import pytest

from sftrun.contract import events
from sftrun.contract.answers import Answer
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import DataSource, EvaluationSpec, JobSpec
from sftrun.job.ask import batched
from tests.job import tiny
from tests.job.runs import Run, record

pytestmark = pytest.mark.slow
ROWS = 70  # three batches on a CPU


def job(folder: Path, model: Path, **changes: Any) -> JobSpec:
    folder.mkdir()
    data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(16))
    test = tiny.write_rows(
        folder / "test.jsonl", [row | {"kind": "ab"[n % 2]} for n, row in enumerate(tiny.make_rows(ROWS))]
    )
    asked = EvaluationSpec(data=DataSource(files=(str(test),)), by="kind", max_new_tokens=6, needs_loss=True)
    return tiny.make_job(folder, model, data, evaluation=asked, **changes)


def answers(spec: JobSpec) -> dict[tuple[Any, ...], Answer]:
    found = [event.answer for event in record(spec) if isinstance(event, events.Answered)]
    assert len({answer.key for answer in found}) == len(found), "asked twice"
    return {answer.key: answer for answer in found}


def at_answer(model: str, number: int) -> Any:
    heard = 0

    def wanted(event: AnyEvent) -> bool:
        nonlocal heard
        heard += isinstance(event, events.Answered) and event.answer.model == model
        return heard >= number

    return wanted


def test_a_run_that_is_killed_in_its_evaluation_has_the_answers_of_an_unbroken_one(model: Path, tmp_path: Path) -> None:
    whole, broken = job(tmp_path / "whole", model), job(tmp_path / "broken", model)
    assert Run(whole, tmp_path / "whole").rest()[0] == 0
    for name, number in (("base", 1), ("base", 20), ("tuned", 1), ("tuned", 30)):
        run = Run(broken, tmp_path)
        run.until(at_answer(name, number))
        run.kill()
    code, last = Run(broken, tmp_path).rest()
    assert (code, last.kind) == (0, "finished")
    assert len(answers(whole)) == 2 * ROWS
    assert answers(broken) == answers(whole)


def test_the_tuned_model_is_asked_once_its_adapter_is_saved(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path / "run", model)
    run = Run(spec, tmp_path)
    assert run.rest()[0] == 0
    stages = [event.name for event in run.events if isinstance(event, events.Stage)]
    assert (
        stages.index("evaluate_before") < stages.index("train") < stages.index("save") < stages.index("evaluate_after")
    )
    asking = [event for event in run.events if isinstance(event, events.Asking)]
    assert [(event.model, event.rows, event.test_rows, event.done) for event in asking] == [
        ("base", ROWS, ROWS, 0),
        ("tuned", ROWS, ROWS, 0),
    ]
    found = answers(spec)
    assert {answer.group for answer in found.values()} == {"a", "b"}
    losses = [sum(answer.loss or 0 for answer in found.values() if answer.model == name) for name in ("base", "tuned")]
    assert losses[1] < losses[0]
    assert batched.MOST_ROWS_CPU < ROWS


def test_a_stop_while_the_tuned_model_is_asked_leaves_a_finished_run(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path / "run", model)
    run = Run(spec, tmp_path)
    run.until(lambda event: isinstance(event, events.Stage) and event.name == "evaluate_after")
    run.stop()
    code, last = run.rest()
    assert (code, last.kind) == (0, "finished")
    notes = [event.message for event in run.events if isinstance(event, events.Note)]
    asked = len(answers(spec))
    if asked < 2 * ROWS:  # it may have been faster than the word that it is to stop
        assert any("the evaluation is not complete: it was stopped" in note for note in notes)


def test_full_fine_tuning_asks_the_base_as_it_was(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path / "full", model, lora=None)
    assert Run(spec, tmp_path).rest()[0] == 0
    found = answers(spec)
    assert len(found) == 2 * ROWS
    assert any(found["base", "test", index].loss != found["tuned", "test", index].loss for index in range(ROWS))


def test_rows_that_can_not_be_read_fail_the_run_before_it_trains(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path / "run", model)
    Path(spec.evaluation.data.files[0]).write_text('{"instruction": "a", "output": 3}\n')  # type: ignore[union-attr]
    run = Run(spec, tmp_path)
    code, last = run.rest()
    assert code == 3
    assert isinstance(last, events.Failed)
    assert (last.stage, last.failure) == ("evaluate_before", "data")
    assert "test.jsonl:1" in last.message
