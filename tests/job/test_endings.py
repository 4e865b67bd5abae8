"""How a run can end besides by finishing: each in words, with nothing lost.  Real processes, real disks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sftrun.contract import stopping
from sftrun.contract.events import Checkpoint, DataReady, Failed, ModelReady, Note, Sample, Stage, Stopped
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, MoneySpec, SampleSpec
from sftrun.job.supervise import checkpoints
from tests.job import tiny
from tests.job.runs import Run, at_step, held_at, record

pytestmark = pytest.mark.slow
CHAT_ROWS = [
    {"messages": [{"role": "user", "content": f"Double {i}."}, {"role": "assistant", "content": str(2 * i)}]}
    for i in range(24)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(24))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 700 kB: a checkpoint or two fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_folder_that_cant_be_written_is_named_before_anything_runs(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spec = tiny.make_job(tmp_path, model, data, output_dir=str(tmp_path / "file" / "adapter"))
    code, last = Run(spec, tmp_path).rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert (last.failure, last.stage) == ("disk", "start")
    assert str(tmp_path / "file") in last.message


def test_a_read_only_disk_is_named_before_anything_runs(
    model: Path, data: Path, small_disk: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    spec = tiny.make_job(tmp_path, model, data, checkpoints_dir=str(small_disk / "checkpoints"))
    code, last = Run(spec, tmp_path).rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert (last.failure, "it is read-only" in last.message) == ("disk", True)


def test_a_record_that_cant_be_kept_is_said_on_stdout(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, last = Run(tiny.make_job(tmp_path, model, data, record_dir=str(tmp_path / "file" / "r")), tmp_path).rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert last.failure == "disk"


def test_a_budget_that_is_used_up_starts_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    money = MoneySpec(usd_per_second=Decimal("0.01"), spent_usd=Decimal("9.5"), max_usd=Decimal("9.5"))
    code, last = Run(tiny.make_job(tmp_path, model, data, money=money), tmp_path).rest()
    assert code == 4
    assert isinstance(last, Stopped)
    assert (last.reason, last.step, last.spent_usd >= Decimal("9.5")) == ("budget", 0, True)


def test_a_stop_that_was_asked_for_before_the_supervisor_began_is_obeyed(
    model: Path, data: Path, tmp_path: Path
) -> None:
    spec = tiny.make_job(tmp_path, model, data)
    Path(spec.record_dir).mkdir(parents=True)
    stopping.request(spec.record_dir, "user")
    code, last = Run(spec, tmp_path).rest()
    assert code == 4
    assert isinstance(last, Stopped)
    assert (last.reason, last.step) == ("user", 0)


def test_a_stop_after_the_last_step_names_that_step_and_its_checkpoint(model: Path, data: Path, tmp_path: Path) -> None:
    samples = SampleSpec(prompts=tuple(f"Add 1 and {i}." for i in range(100)), max_new_tokens=32)
    spec = tiny.make_job(tmp_path, model, data, samples=samples, trainer={"max_steps": 4})
    run = Run(spec, tmp_path, held_at('"name":"samples_after"', spec))
    run.until(lambda event: isinstance(event, Stage) and event.name == "samples_after")
    run.stop()
    code, last = run.rest()
    assert code == 4
    assert isinstance(last, Stopped)
    assert (last.reason, last.step, Path(str(last.checkpoint)).name) == ("user", 4, "checkpoint-4")


def test_a_job_that_is_no_job_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    for name in ("job.json", "none.json"):
        done = subprocess.run(
            [sys.executable, "-m", "sftrun.job.supervise.entry", str(tmp_path / name)], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr


def test_bad_data_and_a_bad_model_fail_at_once_and_say_why(model: Path, data: Path, tmp_path: Path) -> None:
    masked = tiny.make_job(tmp_path / "a", model, data, trainer={"max_length": 8})
    pickled = tiny.make_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    torn = tiny.make_model(tmp_path / "torn")
    os.truncate(torn / "model.safetensors", 1000)
    runs = [
        (Run(masked, tmp_path / "a"), "data", "every label is masked"),
        (Run(tiny.make_job(tmp_path / "b", pickled, data), tmp_path / "b"), "model", "holds no safetensors weights"),
    ]
    for run, kind, words in runs:
        _failed(run, kind, words)
    none = tiny.make_job(tmp_path / "c", Path("/no/such"), data)
    runs = [
        (Run(none, tmp_path / "c"), "model", "no model folder at /no/such"),
        (Run(tiny.make_job(tmp_path / "d", torn, data), tmp_path / "d"), "model", "can't load the model"),
    ]
    for run, kind, words in runs:
        _failed(run, kind, words)


def _failed(run: Run, kind: str, words: str) -> None:
    code, last = run.rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert (last.failure, words in last.message) == (kind, True), last.message
    assert last.help
    assert not Path(run.spec.output_dir).exists()


def test_a_disk_that_fills_up_loses_no_checkpoint(model: Path, data: Path, small_disk: Path, tmp_path: Path) -> None:
    trainer = {"save_steps": 1, "save_total_limit": None, "max_steps": 40, "logging_steps": 1}
    spec = tiny.make_job(tmp_path, model, data, checkpoints_dir=str(small_disk / "c"), trainer=trainer)
    run = Run(spec, tmp_path)
    code, last = run.rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert (last.failure, last.stage) == ("disk", "train")
    kept = [event for event in run.events if isinstance(event, Checkpoint)]
    assert kept
    assert checkpoints.find(spec.checkpoints_dir, spec.run_id).step == kept[-1].step


def test_signals_a_second_supervisor_and_a_loss_that_is_no_number(model: Path, data: Path, tmp_path: Path) -> None:
    trainer = {"max_steps": 4000, "logging_steps": 1, "save_steps": 4000}
    spec = tiny.make_job(tmp_path / "a", model, data, trainer=trainer)
    wild = tiny.make_job(tmp_path / "b", model, data, trainer={"learning_rate": 1e30, "max_grad_norm": 0.0})
    run, diverging = Run(spec, tmp_path / "a"), Run(wild, tmp_path / "b")
    run.until(at_step(2))
    second = subprocess.run(
        [sys.executable, "-m", "sftrun.job.supervise.entry", str(tmp_path / "a" / "r1.json")],
        capture_output=True,
        text=True,
    )
    assert second.returncode == 6
    assert f"process {run.process.pid}" in second.stderr
    run.process.terminate()
    code, last = run.rest()
    assert code == 4
    assert isinstance(last, Stopped)
    assert (last.reason, last.checkpoint is not None) == ("user", True)
    assert len(json.loads((Path(str(last.checkpoint)) / "trainer_state.json").read_text())["log_history"]) <= 100
    _failed(diverging, "diverged", "the loss became")
    assert checkpoints.find(wild.checkpoints_dir, wild.run_id).newest is None


def test_conversations_train_a_whole_model_which_then_answers(model: Path, tmp_path: Path) -> None:
    rows = tiny.write_rows(tmp_path / "chat.jsonl", CHAT_ROWS)
    own = Path(tmp_path / "out" / "adapter")
    own.mkdir(parents=True)
    (own / "thesis.txt").write_text("not yours")
    spec = tiny.make_job(
        tmp_path,
        model,
        rows,
        lora=None,
        dataset=DatasetSpec(train=(DataSource(files=(str(rows),)),), shuffle=False),
        samples=SampleSpec(prompts=("Double 2.", "Double 3."), max_new_tokens=3),
        trainer={"max_steps": 3},
        step={"layout": "padding_free", "checkpointed": True},
    )
    run = Run(spec, tmp_path)
    code, _ = run.rest()
    assert code == 0
    found = record(spec)
    stages = [event.name for event in found if isinstance(event, Stage)]
    assert stages == ["start", "data", "model", "samples_before", "train", "samples_after", "save"]
    ready = next(event for event in found if isinstance(event, DataReady))
    assert (ready.format, ready.rows) == ("messages", 24)
    sizes = next(event for event in found if isinstance(event, ModelReady))
    assert sizes.parameters == sizes.trainable_parameters
    assert len([event for event in found if isinstance(event, Sample)]) == 4
    moved = next(event.message for event in found if isinstance(event, Note) and "stood in the output" in event.message)
    assert (Path(f"{own}.before-r1") / "thesis.txt").read_text() == "not yours"
    assert f"{own}.before-r1" in moved
    _answers(spec, tmp_path)


def _answers(spec: JobSpec, folder: Path) -> None:
    request = folder / "request.json"
    request.write_text(json.dumps({"job": spec.model_dump(mode="json"), "max_new_tokens": 4}))
    done = subprocess.run(
        [sys.executable, "-m", "sftrun.job.train.answer", str(request)],
        input='{"prompt": "Double 4."}\n{"prompt": "Double 5."}\n',
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["prompt"] for answer in answers] == ["Double 4.", "Double 5."]
    assert all({"base", "tuned"} <= answer.keys() for answer in answers)


def test_the_stage_of_the_data_names_files_without_their_folders() -> None:
    one = f"/sftrun/uploads/{'7e' * 32}/train.jsonl"
    assert DataSource(files=(one,)).name == "train.jsonl"
    assert DataSource(files=("/d/a.jsonl", "/d/b.jsonl", "/d/c.jsonl")).name == "a.jsonl and 2 more"
    assert DataSource(hub="tatsu-lab/alpaca").name == "tatsu-lab/alpaca"
