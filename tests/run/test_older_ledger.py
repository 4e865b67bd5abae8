"""A ledger that a release with identities of version 1 wrote: its runs are found again."""

import json
from pathlib import Path

from sftrun.run.ledger import run_id
from tests.run.cli_runs import Place


def as_version_1(place: Place) -> Path:
    """The only run as that release would have left it: another id, and the names of its time within."""
    plan = json.loads((place.run / "plan.json").read_text())
    (identity,) = plan.pop("earlier_identities")
    old = place.run.with_name(run_id(identity, 1))
    texts = {path: path.read_text() for path in place.run.glob("*.json")}
    texts[place.run / "plan.json"] = json.dumps(plan)
    for path, text in texts.items():
        path.write_text(text.replace(place.run.name, old.name).replace(plan["identity"], identity))
    for marker in place.path.glob(".sftrun/volumes/results/tryout/sftrun.json"):
        marker.write_text(json.dumps({"run_id": old.name}))
    place.run.rename(old)
    return old


def test_a_finished_run_has_nothing_to_do(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    old = as_version_1(place)
    again = place.sftrun("apply", "r.yaml")
    assert again.stdout.startswith(f"nothing to do: run {old.name} has finished"), again.stderr
    assert f"run {old.name} stands already" in place.sftrun("apply", "r.yaml", "--dry-run").stdout


def test_a_failed_run_goes_on_under_its_old_id(place: Place) -> None:
    place.sftrun("apply", "r.yaml", FAKE_FAIL_AT="7")
    old = as_version_1(place)
    again = place.sftrun("apply", "r.yaml")
    assert again.returncode == 0, again.stderr
    assert f"run {old.name} resumed (failed at step 7)" in again.stdout
    assert place.run == old


def test_a_forced_run_is_the_one_that_is_found_from_then_on(place: Place) -> None:
    place.sftrun("apply", "r.yaml")
    old = as_version_1(place)
    place.sftrun("apply", "r.yaml", "--force")
    (new,) = (run for run in place.runs if run != old)
    assert f"run {new.name} has finished" in place.sftrun("apply", "r.yaml").stdout
