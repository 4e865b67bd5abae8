"""What the estimate makes a recipe say: it can't fit, it is above its budget, it outlasts the timeout."""

import re
from decimal import Decimal

from sftrun.diagnostics import Diagnostic
from sftrun.plan.check import estimated
from sftrun.plan.estimate import total
from sftrun.recipe.models import Budget, Recipe
from tests.plan.test_estimate import census, facts, plan_of


def found(made: Recipe, today: str = "2026-10-20") -> dict[str, Diagnostic]:
    known = facts(today=today)
    plan = total.priced(plan_of(made), known)
    return {one.code: one for one in estimated.check(plan, known, plan_of)}


def on(gpu: str, **trainer: object) -> Recipe:
    base = {"packing": True, "max_length": 2048, "per_device_train_batch_size": 8, "gradient_checkpointing": False}
    return census(compute={"executor": "modal", "gpu": gpu}, trainer=base | trainer)


def test_memory_that_can_t_fit_names_the_biggest_part_and_what_would_fit() -> None:
    said = found(on("L4"))["G103"]
    assert "activations" in said.message
    assert "`L4` has 24 GB" in said.message
    assert said.help is not None
    assert re.fullmatch(
        r"write `trainer.gradient_checkpointing: true` \(peak \d+\.\d GB, about \$\d+\.\d\d\)", said.help
    )


def test_a_run_that_fits_well_says_nothing_of_memory() -> None:
    assert not {"G103", "G106"} & set(found(on("H200")))


def test_little_room_is_a_warning() -> None:
    said = found(on("H200", per_device_train_batch_size=18))["G106"]
    assert said.severity == "warning"


def test_a_budget_below_the_low_end_is_an_error_at_its_key() -> None:
    poor = on("H200").model_copy(update={"budget": Budget(max_usd=Decimal("0.10"))})
    said = found(poor)["C102"]
    assert said.at == ("budget", "max_usd")
    assert "the budget is $0.10" in said.message


def test_a_run_longer_than_its_timeout_says_in_how_many_attempts_it_ends() -> None:
    made = census(compute={"executor": "modal", "gpu": "H200", "timeout": "10m"})
    said = found(made)["C103"]
    assert "attempts" in said.message
    assert said.help == "write `compute.timeout: 24h`, the longest there is"


def test_old_prices_warn_after_thirty_days() -> None:
    assert "C104" not in found(on("H200"), today="2026-11-05")
    assert "C104" in found(on("H200"), today="2026-11-06")


def test_a_much_cheaper_gpu_is_named() -> None:
    slow = {"packing": False, "per_device_train_batch_size": 1, "gradient_checkpointing": True}
    said = found(on("B200", **slow))["G107"]
    assert said.message.startswith("`B200` costs about $")
