"""Batches: what padding, padding-free rows and packing make of row lengths."""

from typing import Any

import pytest

from sftrun.facts.values import DataFacts
from sftrun.plan.build import build
from sftrun.plan.estimate import lengths, workload
from sftrun.plan.estimate.lengths import Lengths
from sftrun.plan.estimate.total import estimate
from sftrun.plan.estimate.workload import Batch, Workload
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3, setup

TWO = Lengths(((100.0, 0.5), (300.0, 0.5)))


def data(**values: object) -> DataFacts:
    return DataFacts.model_validate({"source": "counted", "format": None, "rows": 1000, **values})


def work(train: DataFacts, evaluation: DataFacts | None = None, **settings: Any) -> Workload | None:
    made = setup(**settings)
    return workload.workload(made.trainer, made.step, train, 1, evaluation)


def batch(**settings: Any) -> Batch:
    made = setup(**settings)
    return workload.batch(made.trainer, made.step, TWO, 10)


def test_padding_costs_the_longest_of_a_batch() -> None:
    assert TWO.mean_longest(2) == pytest.approx(0.25 * 100 + 0.75 * 300)
    found = batch(packing=False, per_device_train_batch_size=2)
    assert found.tokens == pytest.approx(500)
    assert found.real_tokens == pytest.approx(400)


def test_without_padding_only_real_tokens_are_computed() -> None:
    found = batch(packing=False, attention="varlen", per_device_train_batch_size=2)
    assert found.tokens == found.real_tokens == pytest.approx(400)
    assert found.squares == pytest.approx(2 * TWO.mean_square)


def test_packing_fills_sequences_as_far_as_rows_fit() -> None:
    found = batch(per_device_train_batch_size=4)
    assert found.tokens == found.real_tokens
    # rows of 100 and 300 make 2,000
    assert found.real_tokens == pytest.approx(4 * 2000, rel=0.005)
    assert found.rows == pytest.approx(4 * 2000 / 200, rel=0.005)
    assert lengths.packed_share(Lengths(((1100.0, 1.0),)), 2048, 10) == pytest.approx(1100 / 2048)
    assert lengths.packed_share(TWO, 2048, 1) == pytest.approx(300 / 2048, abs=0.1)


def test_compiled_layers_compute_on_what_fills_a_batch_up() -> None:
    assert batch(attention="varlen", compiled=True, per_device_train_batch_size=4).tokens == 4 * 2048
    free = batch(attention="varlen", compiled=True, packing=False)
    assert free.tokens == free.real_tokens + 128  # of 256, on average


def test_the_largest_batch_is_never_above_the_longest_row_each() -> None:
    assert TWO.largest_sum(4, 1e9) <= 4 * 300
    assert TWO.largest_sum(4, 1e3) >= 300 + 3 * 200


def test_a_declared_mean_becomes_a_distribution_with_that_mean() -> None:
    found = lengths.of(data(source="declared", mean_tokens=180.0), 2048)
    assert found is not None
    assert found.mean == pytest.approx(180, rel=0.02)
    assert found.longest <= 2048


def test_counted_lengths_are_cut_at_the_maximum() -> None:
    found = lengths.of(data(length_counts=((10, 3), (5000, 1))), 1024)
    assert found == Lengths(((10.0, 0.75), (1024.0, 0.25)))


def test_without_lengths_there_is_no_workload() -> None:
    assert work(data()) is None


@pytest.mark.parametrize(("settings", "steps"), [({}, 14), ({"max_steps": 60}, 60), ({"num_train_epochs": 3.0}, 42)])
def test_steps_are_counted_as_the_trainer_counts_them(settings: dict[str, object], steps: int) -> None:
    found = work(data(mean_tokens=204.8, length_counts=((204, 1), (206, 1))), **settings)
    assert found is not None
    assert found.steps == steps


def test_rows_with_nothing_to_learn_take_no_step() -> None:
    counted = {"mean_tokens": 200.0, "length_counts": ((200, 1000),)}
    few, none = work(data(**counted, rows_nothing_learnt=500)), work(data(**counted, rows_nothing_learnt=1000))
    assert few is not None
    assert (few.rows, few.steps) == (500, 7)
    assert none is not None
    assert (none.rows, none.steps) == (0, 1)


def test_evaluation_happens_once_at_the_end_unless_asked_for() -> None:
    made = work(data(mean_tokens=200.0), data(rows=50, mean_tokens=200.0))
    assert made is not None
    assert (made.eval_rounds, made.eval_rows) == (1, 50)


@pytest.mark.parametrize(
    ("steps", "settings", "rounds"),
    [(25, {}, 3), (20, {}, 2), (9, {}, 1), (25, {"extra": {"eval_on_start": True}}, 4)],
)
def test_evaluations_are_counted_as_the_worker_makes_them(steps: int, settings: dict[str, Any], rounds: int) -> None:
    evaluated = data(rows=50, mean_tokens=200.0)
    made = work(evaluated, evaluated, max_steps=steps, eval_steps=10, **settings)
    assert made is not None
    assert made.eval_rounds == rounds


@pytest.mark.parametrize("layout", [{"packing": True}, {"packing": False, "attention": "varlen"}, {"packing": False}])
def test_validation_rows_of_twice_the_length_take_twice_as_long(layout: dict[str, Any]) -> None:
    known = data(rows=1000, mean_tokens=100.0)
    short, same, long = (work(known, data(rows=2000, mean_tokens=mean), **layout) for mean in (100.0, None, 200.0))
    assert short is not None
    assert long is not None
    assert short == same
    assert long.eval_steps == pytest.approx(2 * short.eval_steps, rel=0.1)


@pytest.mark.parametrize("rows", [0, 1, 1000])
@pytest.mark.parametrize("packing", [False, True])
def test_plan_and_estimate_count_the_same_steps(rows: int, packing: bool) -> None:
    known = facts(model=phi3(), train=data(rows=rows, mean_tokens=100.0))
    plan = build(recipe(trainer={"packing": packing}), known, folders={})
    cost = estimate(plan, known).cost
    assert cost is not None
    assert plan.total_steps == cost.steps >= 1
