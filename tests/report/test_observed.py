"""The ledger's finished runs correct the next estimate of their like."""

from pathlib import Path

import pytest

from sftrun.facts.gpus import catalog
from sftrun.plan.estimate.total import estimate, priced
from sftrun.plan.types import Plan
from sftrun.report.cost_sums import read
from sftrun.report.observed import observations, received
from sftrun.report.summary import report
from sftrun.run.ledger import Ledger, Manifest
from sftrun.run.state import fold
from tests.plan.test_estimate import census, facts, plan_of
from tests.report.test_html import said


@pytest.fixture
def plan() -> Plan:
    return priced(plan_of(census()), facts())


def keep(root: Path, plan: Plan, events: str, run_id: str = "3f2a9c01de") -> None:
    course = said()
    manifest = Manifest(
        id=run_id,
        name="sample",
        identity=plan.identity,
        generation=1,
        created=1_790_000_000.0,
        user="u",
        host="h",
        executor="modal",
        model="builtin:tiny",
        recipe_file="/r.yaml",
    )
    made = report(manifest, plan, fold(course), "/vol/out")
    lines = "".join(event.model_dump_json() + "\n" for event in course) if events == "all" else ""
    files = {"plan.json": plan.model_dump_json(), "report.json": made.model_dump_json(), "events.jsonl": lines}
    Ledger(root).create(manifest, files)


def test_a_finished_run_becomes_an_observation(tmp_path: Path, plan: Plan) -> None:
    keep(tmp_path, plan, "all")
    (found,) = observations(tmp_path, catalog.shipped())
    assert plan.cost is not None
    assert found.measured_seconds == pytest.approx(0.6)
    assert found.predicted_seconds == pytest.approx(plan.cost.seconds_per_step)
    assert (found.features.gpu, found.features.identities) == ("H200", frozenset(plan.identities))


def test_the_next_estimate_has_learned_from_it(tmp_path: Path, plan: Plan) -> None:
    keep(tmp_path, plan, "all")
    found = estimate(plan, facts(), observations(tmp_path, catalog.shipped())).cost
    assert found is not None
    assert found.seconds_per_step == pytest.approx(0.6, rel=1e-3)
    assert found.basis.startswith("measured on this very recipe, 1 run")


def test_a_run_that_learned_itself_does_not_teach_twice(tmp_path: Path, plan: Plan) -> None:
    assert plan.cost is not None
    twice = plan.cost.model_copy(update={"seconds_per_step": plan.cost.seconds_per_step * 2, "correction": 2.0})
    keep(tmp_path, plan.model_copy(update={"cost": twice}), "all")
    (found,) = observations(tmp_path, catalog.shipped())
    assert found.predicted_seconds == pytest.approx(plan.cost.seconds_per_step)


def test_a_run_under_way_and_a_damaged_one_are_left_out(tmp_path: Path, plan: Plan) -> None:
    keep(tmp_path, plan, "none")
    keep(tmp_path, plan, "all", "aaaaaaaaaa")
    (tmp_path / "runs" / "aaaaaaaaaa" / "plan.json").write_text("{")
    assert observations(tmp_path, catalog.shipped()) == ()
    assert len(read(tmp_path)) == 1


def test_without_a_ledger_nothing_is_known(tmp_path: Path) -> None:
    assert observations(tmp_path / "none", catalog.shipped()) == ()


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-ADA"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("cpu", None),
    ],
)
def test_the_gpu_received_is_read_from_what_the_job_says(device: str, name: str | None) -> None:
    assert received(device, catalog.shipped()) == name
