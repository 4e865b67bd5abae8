"""The shipped recipes ask of their machines nothing that these could not do."""

from pathlib import Path

import pytest

from sftrun.cli.examine import examine_file
from sftrun.job.obey.orders import Here, on_machine

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_shipped_recipe_orders_nothing_that_its_machine_does_not_allow(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))
    plan = examine_file(file).plan
    assert plan is not None
    gpus = plan.compute.gpu_count
    here = Here(gpus > 0, gpus > 0, max(gpus, 1) * plan.compute.nodes)
    assert list(on_machine(plan.step, here)) == []
