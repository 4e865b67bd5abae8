"""A ledger that a release with identities of version 1 wrote: its runs are found again, and ids stay what they were."""

import json
from pathlib import Path

from sftrun.run.ledger import run_id
from tests.run.cli_runs import Place


def as_version_1(place: Place) -> Path:
    """The only run, with the names of its time in its files."""
    for name in ("plan.json", "run.json"):
        told = json.loads((place.run / name).read_text())
        if "earlier_identities" in told:
            (told["identity"],) = told.pop("earlier_identities")
        (place.run / name).write_text(json.dumps(told))
    plan = json.loads((place.run / "plan.json").read_text())
    assert place.run.name == run_id(plan["identity"], 1)
    return place.run


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
