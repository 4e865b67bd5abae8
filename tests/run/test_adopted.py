"""`attach --volume`: what lies on a Volume was put there by whoever may write to it, and is judged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run.cli_runs import Place
from tests.run.modal_desk import WAIT, Desk

pytestmark = pytest.mark.slow
REMOTE = {
    "app_id": "ap-0123456789abcdefghijkl",
    "call_id": "fc-0123456789abcdefghijkl",
    "dashboard": "https://modal.com/x",
    "volume": "outputs",
    "started": 1790000000.0,
    "user": "ada",
}
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(place: Place, desk: Desk) -> Path:
    """A run's files on the Volume `outputs`."""
    assert place.sftrun("apply", "r.yaml").returncode == 0
    there = desk.plane.volume("outputs") / ".sftrun" / "runs" / place.run.name
    shutil.copytree(place.run, there)
    change(there / "run.json", lambda told: told.update(executor="modal"))
    (there / "remote.json").write_text(json.dumps(REMOTE | {"record": f".sftrun/runs/{there.name}"}))
    return there


def change(file: Path, how: Change) -> None:
    told = json.loads(file.read_text())
    how(told)
    file.write_text(json.dumps(told))


def attach(desk: Desk, run: str) -> tuple[int, str]:
    process = desk.start("attach", run, "--volume", "outputs", home="mine")
    _, said = process.communicate(timeout=WAIT)
    return process.returncode, said


@pytest.mark.parametrize("name", ["../../x", "../x", ".", "3f2a", "3f2a91c0de/..", "/tmp/x", "3F2A91C0DE"])
def test_only_an_id_is_looked_for(desk: Desk, name: str) -> None:
    code, said = attach(desk, name)
    assert (code, f"`{name}` is no run's id" in said) == (1, True)
    assert not (desk.folder / "mine").exists()


DAMAGE: dict[str, tuple[str, Change]] = {
    "another id": ("run.json", lambda told: told.update(id="0123456789")),
    "a way out": ("run.json", lambda told: told.update(id="../../../x")),
    "a local run": ("run.json", lambda told: told.update(executor="local")),
    "another record": ("remote.json", lambda told: told.update(record="../other")),
    "another volume": ("remote.json", lambda told: told.update(volume="secrets")),
    "no call": ("remote.json", lambda told: told.update(call_id="../../x")),
    "a date that is none": ("remote.json", lambda told: told.update(started=1e300)),
    "a job that is none": ("job.json", dict.clear),
    "a plan that is none": ("plan.json", dict.clear),
}


def test_what_does_not_belong_together_is_damaged_and_nothing_is_kept(desk: Desk, run: Path) -> None:
    for name, (file, how) in DAMAGE.items():
        before = (run / file).read_text()
        change(run / file, how)
        code, said = attach(desk, run.name)
        assert (code, "is damaged: it " in said, "Traceback" in said) == (7, True, False), (name, said)
        assert not list((desk.folder / "mine").rglob("*.json")), name
        (run / file).write_text(before)


def test_a_volume_does_not_decide_that_a_models_code_runs_here(desk: Desk, run: Path) -> None:
    change(run / "job.json", lambda told: told["model"].update(trust_remote_code=True))
    _, said = attach(desk, run.name)
    assert "has code of its own, which a Volume can't allow" in said
    kept = json.loads((desk.folder / "mine" / "runs" / run.name / "job.json").read_text())
    assert kept["model"]["trust_remote_code"] is False


def test_a_call_that_modal_forgot_is_settled_from_the_record(desk: Desk, run: Path) -> None:
    code, said = attach(desk, run.name)
    assert code == 0, said
    assert json.loads((desk.folder / "mine" / "runs" / run.name / "remote.json").read_text())["settled"]


def test_where_neither_call_nor_record_is_known_nothing_is_said_of_the_run(desk: Desk, run: Path) -> None:
    (run / "events.jsonl").unlink()
    code, said = attach(desk, run.name)
    assert (code, "knows neither the call nor the record" in said) == (7, True), said
    assert not (desk.folder / "mine" / "runs" / run.name / "events.jsonl").exists()


def test_a_run_of_another_environment_is_said_and_left_alone(desk: Desk, run: Path) -> None:
    change(run / "remote.json", lambda told: told.update(dashboard="https://modal.com/apps/ws/dev/ap-1"))
    code, said = attach(desk, run.name)
    assert (code, "help: set MODAL_ENVIRONMENT=dev" in said) == (7, True), said
    assert not (desk.folder / "mine" / "runs" / run.name / "events.jsonl").exists()
