"""Trackers beside a run: each point once through kills and resumes, and no harm by one that fails or hangs.

The clients are the real ones.  What of them is not installed is skipped: `pip install 'sftrun[trackers]'` brings all.
"""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from sftrun.contract.events import AnyEvent, Evaluated, Note, Step
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, MoneySpec
from sftrun.job.track import points
from tests.job import tiny
from tests.job.runs import Run, at_step, held_at_step, record

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
Told = dict[str, list[tuple[int, float]]]


def job(folder: Path, model: Path, *names: str) -> JobSpec:
    folder.mkdir(parents=True, exist_ok=True)
    data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(30))
    return tiny.make_job(
        folder,
        model,
        data,
        dataset=DatasetSpec(train=(DataSource(files=(str(data),)),), eval_fraction=0.2),
        trainer={"report_to": names, "eval_steps": 4, "logging_steps": 1},
        money=MoneySpec(usd_per_second=Decimal("0.01")),
    )


def broken(spec: JobSpec, folder: Path) -> None:
    """Killed at step 5, after the checkpoint of step 3, and gone on with: steps 4 and 5 are taken twice."""
    run = Run(spec, folder, held_at_step(5, spec))
    run.until(at_step(5))
    run.kill_worker()
    assert run.rest()[0] == 3
    assert Run(spec, folder).rest()[0] == 0


def said(spec: JobSpec) -> Told:
    """What the record has, the last word on each step."""
    found: dict[str, dict[int, float]] = {"train/loss": {}, "eval/loss": {}}
    for event in record(spec):
        if isinstance(event, Step | Evaluated):
            found["train/loss" if isinstance(event, Step) else "eval/loss"][event.step] = event.loss
    return {name: sorted(values.items()) for name, values in found.items()}


def of_tensorboard(spec: JobSpec) -> Told:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    reader = EventAccumulator(str(Path(spec.record_dir, "tensorboard", spec.run_id)))
    reader.Reload()
    return {
        name: [(each.step, float(make_ndarray(each.tensor_proto))) for each in reader.Tensors(name)]
        for name in reader.Tags()["tensors"]
    }


def of_mlflow(spec: JobSpec) -> Told:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=Path(spec.record_dir, "mlflow").as_uri())
    experiment = client.get_experiment_by_name(spec.name)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["sftrun.run"]) == ("FINISHED", spec.run_id)
    assert run.data.params["lora.r"] == "4"
    names = run.data.metrics
    return {name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)] for name in names}


def of_wandb(spec: JobSpec) -> Told:
    """Of the files that `wandb sync` sends; all runs' together, as they are one run's there."""
    from wandb.proto import wandb_internal_pb2

    found: Told = {}
    for file in sorted(Path(spec.record_dir).glob("wandb/offline-run-*/*.wandb")):
        assert file.name == f"run-{spec.run_id}.wandb"
        for data in wandb_records(file.read_bytes()):
            entry = wandb_internal_pb2.Record.FromString(data)
            told = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in entry.history.item}
            for name in told.keys() & {"train/loss", "eval/loss", "spent_usd"}:
                found.setdefault(name, []).append((told["_step"], told[name]))
    return found


def wandb_records(data: bytes, block: int = 32768, head: int = 7) -> Iterator[bytes]:
    """LevelDB's log: blocks of pieces, each with checksum, length and kind (1 whole, 2 first, 3 middle, 4 last)."""
    at, whole = head, b""
    while at + head <= len(data):
        if block - at % block < head:
            at += block - at % block
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + head : at + head + length]
        at += head + length
        if kind in (1, 4):
            yield whole
            whole = b""


def of_trackio(spec: JobSpec) -> Told:
    found: Told = {}
    (file,) = Path(spec.record_dir, "trackio").glob("*.db")
    with sqlite3.connect(file) as base:
        rows = base.execute("select step, metrics from metrics order by id").fetchall()
    for step, text in rows:
        for name, value in json.loads(text).items():
            found.setdefault(name, []).append((step, value))
    return found


READERS: dict[str, Callable[[JobSpec], Told]] = {
    "tensorboard": of_tensorboard,
    "mlflow": of_mlflow,
    "wandb": of_wandb,
    "trackio": of_trackio,
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker of this machine's user is told anything."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("MLFLOW_TRACKING_URI", "TRACKIO_DIR", "TRACKIO_SPACE_ID", "TENSORBOARD_LOGGING_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", READERS)
def test_each_point_is_told_once_through_a_kill_and_a_resume(name: str, model: Path, tmp_path: Path) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    spec = job(tmp_path, model, name)
    broken(spec, tmp_path)
    log = Path(spec.record_dir, f"tracker-{name}.log").read_text()
    found, expected = READERS[name](spec), said(spec)
    for metric, values in expected.items():
        assert [step for step, _ in found[metric]] == [step for step, _ in values], log
        assert [value for _, value in found[metric]] == pytest.approx([value for _, value in values], rel=1e-6)
    assert found["spent_usd"][-1][1] > 0


def lamed(folder: Path, what: str) -> dict[str, str]:
    """The env of a run whose trackers' processes do this instead."""
    folder.mkdir()
    (folder / "tensorboard.py").write_text(what)
    return {"PYTHONPATH": os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))}


def test_a_tracker_that_fails_is_said_and_harms_nothing(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path, model, "tensorboard")
    code, last = Run(spec, tmp_path, lamed(tmp_path / "lame", "raise RuntimeError('no such server')")).rest()
    assert (code, last.kind) == (0, "finished")
    notes = [event.message for event in record(spec) if isinstance(event, Note) and event.level == "warning"]
    assert [note for note in notes if "tensorboard is told nothing more: RuntimeError: no such server" in note]


def test_one_that_hangs_is_ended_after_the_run(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path, model, "tensorboard")
    code, last = Run(spec, tmp_path, lamed(tmp_path / "lame", "import time\ntime.sleep(10_000)")).rest()
    assert (code, last.kind) == (0, "finished")
    living = subprocess.run(
        ["pgrep", "-f", f"{spec.record_dir}/job.json tensorboard"], capture_output=True, check=False
    )
    assert living.stdout == b""


def test_settings_hold_no_rows_prompts_answers_or_places(model: Path, tmp_path: Path) -> None:
    told = points.settings(job(tmp_path, model, "wandb"))
    assert told["trainer.learning_rate"] == 1e-2
    assert told["lora.r"] == 4
    assert told["model.name_or_path"] == model.name
    assert not [name for name in told if name.split(".")[0] in ("samples", "record_dir", "output_dir", "money")]
    assert not [name for name, value in told.items() if str(tmp_path) in str(value)]


def test_steps_that_were_taken_again_are_no_news(model: Path, tmp_path: Path) -> None:
    fold = points.Points(job(tmp_path, model, "wandb"))
    told: list[AnyEvent] = [
        Step(step=n, total_steps=9, epoch=0, loss=n, learning_rate=1, at=float(n)) for n in (1, 2, 3, 2, 3, 4)
    ]
    assert [point.step for event in told for point in fold.of(event)] == [1, 2, 3, 4]
