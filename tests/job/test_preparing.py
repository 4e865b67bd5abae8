"""A run with much data: prepared by a process of its own while the model loads, and found by the run after it."""

import os
import signal
from pathlib import Path

import pytest

from sftrun.contract import events
from sftrun.contract.events import Failed, Stage
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec
from tests.job import tiny
from tests.job.runs import Run, curve, record

pytestmark = pytest.mark.slow
ROWS = 40


SECONDS_OF_WORK = 8_000_000


def job(folder: Path, model: Path, row: dict[str, str], cache: Path, size: int = 20_000) -> JobSpec:
    """Rows of so many bytes, which a process of their own prepares however few they are."""
    folder.mkdir()
    text = "the pods restart " * (size // ROWS // 17 + 1)
    rows = [{key: value.format(text=f"{index} {text}") for key, value in row.items()} for index in range(ROWS)]
    data = tiny.write_rows(folder.parent / "rows.jsonl", rows)
    dataset = DatasetSpec(train=(DataSource(files=(str(data),)),), cache_dir=str(cache))
    step = {"preparing": "process"}
    return tiny.make_job(folder, model, data, dataset=dataset, trainer={"packing": True}, step=step)


def readiness(spec: JobSpec) -> list[bool]:
    return [event.was_ready for event in record(spec) if isinstance(event, events.DataReady)]


def test_the_second_run_tokenises_nothing_and_has_the_same_curve(model: Path, tmp_path: Path) -> None:
    specs = [job(tmp_path / name, model, {"text": "{text}"}, tmp_path / "cache") for name in ("first", "second")]
    for spec in specs:
        code, last = Run(spec, tmp_path).rest()
        assert (code, last.kind) == (0, "finished"), last
    assert [readiness(spec) for spec in specs] == [[False], [True]]
    assert curve(record(specs[0])) == curve(record(specs[1])) != {}
    (place,) = (path for path in (tmp_path / "cache" / "prepared").iterdir() if path.is_dir())
    assert {path.name for path in place.iterdir()} == {"prepared.json", "texts.json", "train.arrow"}


def test_rows_with_nothing_to_learn_end_the_run_in_the_stage_of_the_data(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path / "run", model, {"prompt": "{text}", "completion": "yes"}, tmp_path / "cache")
    for _ in range(2):
        code, last = Run(spec, tmp_path).rest()
        assert code == 3
        assert isinstance(last, Failed)
        assert (last.failure, last.stage) == ("data", "data")
        assert "every label is masked" in last.message


def test_a_run_that_is_killed_takes_its_preparing_process_with_it(model: Path, tmp_path: Path) -> None:
    run = Run(job(tmp_path / "run", model, {"text": "{text}"}, tmp_path / "cache", SECONDS_OF_WORK), tmp_path)
    run.until(lambda event: isinstance(event, Stage) and event.name == "data")
    session = os.getsid(run.worker_pid())
    run.kill()
    _wait_until_gone(session)


def _wait_until_gone(session: int) -> None:
    """No process of that session is left."""
    while any(_session(path) == session for path in Path("/proc").glob("[0-9]*")):
        signal.sigtimedwait([], 0.05)


def _session(process: Path) -> int | None:
    try:
        state, *rest = (process / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if state in "ZX" else int(rest[2])
