"""The rows of an evaluation are counted in the estimate: for both models, by batches."""

from sftrun.plan.estimate import stage_times, total
from sftrun.plan.types import CostEstimate
from tests.plan.test_estimate import census, facts, plan_of


def cost(**evaluation: object) -> CostEstimate:
    wanted = {"evaluation": {"data": {"hub": "org/rows"}, **evaluation}} if evaluation else {}
    found = total.priced(plan_of(census(**wanted)), facts()).cost
    assert found is not None
    return found


def test_a_recipe_without_an_evaluation_has_no_such_stage() -> None:
    assert not [stage for stage in cost().stages if stage.name.startswith("evaluate")]


def test_both_models_are_asked_and_paid_for() -> None:
    asked = cost(max_examples=2000)
    names = [stage.name for stage in asked.stages]
    assert names.index("evaluate_before") < names.index("train") < names.index("evaluate_after")
    assert asked.usd_high > cost().usd_high


def test_more_rows_and_longer_answers_take_longer() -> None:
    def seconds(found: CostEstimate) -> float:
        return total.stage_seconds(found)["evaluate_after"]

    few = cost(max_examples=stage_times.BATCH_ROWS)
    assert seconds(cost(max_examples=4 * stage_times.BATCH_ROWS)) > 3 * seconds(few)
    long = {"max_new_tokens": 1024, "temperature": 0.0}
    assert seconds(cost(max_examples=stage_times.BATCH_ROWS, generation=long)) > 3 * seconds(few)
