"""Evaluations and checkpoints by the epoch become steps, by the rows that were counted."""

from typing import Any

import pytest

from sftrun.plan.build import build
from sftrun.plan.check.epochs import out_of_reach, unknown
from sftrun.plan.estimate.total import estimate
from sftrun.plan.types import Plan
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3

DATA = {"train": {"path": "train.jsonl"}, "eval_fraction": 0.2}
PLACES = {"model.name_or_path": "/r"}


def planned(trainer: dict[str, Any], dataset: dict[str, Any] = DATA, **sections: Any) -> Plan:
    """1,000 rows, 800 of them learnt from: 100 steps of 8 rows are an epoch."""
    return build(recipe(dataset=dataset, trainer=trainer, **sections), facts(model=phi3()), folders=PLACES)


@pytest.mark.parametrize(
    ("trainer", "evaluations", "checkpoints"),
    [
        ({}, None, 500),
        ({"evals_per_epoch": 4}, 25, 500),
        ({"evals_per_epoch": 3, "num_train_epochs": 2}, 34, 500),
        ({"saves_per_epoch": 1}, None, 100),
        ({"evals_per_epoch": 4, "saves_per_epoch": 1}, 25, 100),
        ({"evals_per_epoch": 400}, 1, 500),
        ({"evals_per_epoch": 2, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 5}, 27, 500),
        ({"evals_per_epoch": 2, "max_steps": 1000}, 50, 500),
        ({"evals_per_epoch": 6, "saves_per_epoch": 3, "load_best_model_at_end": True}, 17, 34),
        ({"eval_steps": 30, "saves_per_epoch": 1, "load_best_model_at_end": True}, 30, 90),
        ({"eval_steps": 300, "saves_per_epoch": 1, "load_best_model_at_end": True}, 300, 300),
    ],
)
def test_times_an_epoch_are_steps(trainer: dict[str, Any], evaluations: int | None, checkpoints: int) -> None:
    found = planned(trainer).trainer
    assert (found.eval_steps, found.save_steps) == (evaluations, checkpoints)


def test_the_reason_is_said() -> None:
    made = planned({"evals_per_epoch": 4, "saves_per_epoch": 1}).decisions
    assert {one.at: (one.value, one.reason) for one in made if one.at.endswith("_steps")} == {
        "trainer.eval_steps": ("25", "4 evaluations an epoch of 100 steps"),
        "trainer.save_steps": ("100", "1 checkpoint an epoch of 100 steps"),
    }


def test_two_gpus_take_half_the_steps() -> None:
    assert planned({"evals_per_epoch": 5}, compute={"executor": "modal", "gpu": "H200:2"}).trainer.eval_steps == 10


def test_they_are_in_the_estimate() -> None:
    stages = {}
    for often in ({"eval_steps": 100}, {"evals_per_epoch": 4}):
        cost = estimate(planned(often), facts(model=phi3())).cost
        assert cost is not None
        stages[str(often)] = next(stage for stage in cost.stages if stage.name == "eval")
    once, four = stages.values()
    assert four.expected == pytest.approx(4 * once.expected, rel=0.03)


def test_the_best_is_judged_by_the_loss_unless_something_else_is_written() -> None:
    best = {"eval_steps": 10, "save_steps": 10, "load_best_model_at_end": True}
    assert planned({"eval_steps": 10}).trainer.metric_for_best_model is None
    assert planned(best).trainer.metric_for_best_model == "eval_loss"
    accuracy = {"metric_for_best_model": "eval_mean_token_accuracy"}
    assert planned(best | accuracy).trainer.metric_for_best_model == "eval_mean_token_accuracy"


def test_rows_that_are_not_known_make_no_epoch() -> None:
    data = {"train": {"hub": "org/rows"}, "eval_fraction": 0.2}
    often = {"evals_per_epoch": 4, "saves_per_epoch": 1}
    unseen = facts(model=phi3(), train=None)
    found = list(unknown(recipe(dataset=data, trainer=often), unseen))
    assert [(one.code, one.at) for one in found] == [
        ("R244", ("trainer", "evals_per_epoch")),
        ("R244", ("trainer", "saves_per_epoch")),
    ]
    told = {**data, "train": {"hub": "org/rows", "num_examples": 1000}}
    assert not list(unknown(recipe(dataset=told, trainer=often), unseen))
    packed = list(unknown(recipe(dataset=told, trainer=often | {"packing": True}), unseen))
    assert "give `mean_tokens` of" in str(packed[0].help)
    told = {**data, "train": {"hub": "org/rows", "num_examples": 1000, "mean_tokens": 90}}
    assert not list(unknown(recipe(dataset=told, trainer=often | {"packing": True}), unseen))


@pytest.mark.parametrize(("patience", "is_said"), [(2, False), (3, True), (4, True)])
def test_a_patience_that_the_run_is_too_short_for_is_said(patience: int, is_said: bool) -> None:
    plan = planned({"evals_per_epoch": 4, "early_stopping_patience": patience})
    assert [one.code for one in out_of_reach(plan)] == ["R245"] * is_said
