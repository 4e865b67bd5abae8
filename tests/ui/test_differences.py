"""What tells runs' recipes apart."""

from sftrun.plan.build import build
from sftrun.plan.types import Plan
from sftrun.ui.differences import between
from tests.plan.samples import facts, recipe


def plan(**sections: object) -> Plan:
    return build(recipe(**sections), facts(), folders={})


def test_only_keys_whose_resolved_values_differ_are_named() -> None:
    found = between(
        [plan(trainer={"max_steps": 9, "learning_rate": 1e-4}), plan(trainer={"max_steps": 9, "learning_rate": 3e-4})]
    )
    assert found == [{"key": "trainer.learning_rate", "values": ["0.0001", "0.0003"]}]


def test_runs_of_one_recipe_have_none() -> None:
    assert between([plan(), plan()]) == []
