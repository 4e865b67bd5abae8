"""A budget holds before the start: refuse, ask or start."""

from decimal import Decimal

import pytest

from sftrun.plan.check import budget
from sftrun.plan.types import CostEstimate, StageTime


def cost(low: str, high: str) -> CostEstimate:
    zero = Decimal(0)
    return CostEstimate(
        gpu="H200",
        gpu_count=1,
        steps=10,
        seconds_per_step=2.0,
        tokens_per_second=1.0,
        stages=(StageTime(name="save", low=1, high=5, basis=""),),
        attempts=1,
        usd_gpu=Decimal(low),
        usd_cpu=zero,
        usd_memory=zero,
        usd_storage=zero,
        usd_low=Decimal(low),
        usd_high=Decimal(high),
        basis="",
        prices_date="2026-10-06",
    )


@pytest.mark.parametrize(
    ("max_usd", "verdict"), [("1.50", "refuse"), ("2.00", "ask"), ("2.50", "ask"), ("3.00", "start"), (None, "start")]
)
def test_low_end_refuses_and_high_end_asks(max_usd: str | None, verdict: str) -> None:
    judged = budget.judge(cost("2.00", "3.00"), Decimal(max_usd) if max_usd else None)
    assert judged.verdict == verdict


def test_a_refusal_says_the_figures() -> None:
    judged = budget.judge(cost("2.00", "3.00"), Decimal("1.50"))
    assert judged.message == "the run costs an estimated $2.00 to $3.00, the budget is $1.50"


def test_what_earlier_attempts_have_spent_is_gone() -> None:
    assert budget.judge(cost("2.00", "3.00"), Decimal("4.00"), spent=Decimal("2.50")).verdict == "refuse"


def test_a_run_that_goes_on_is_judged_by_what_is_left_of_it() -> None:
    stages = tuple(
        StageTime(name=name, low=low, high=low, basis="") for name, low in (("start", 3.0), ("train", 100.0))
    )
    whole = cost("3.09", "3.09").model_copy(update={"stages": stages, "usd_per_second": Decimal("0.03")})
    left = budget.remaining(whole, 9)
    assert (left.usd_low, left.usd_high) == (Decimal("0.39"), Decimal("0.39"))
    assert budget.remaining(whole, 0) == whole
    assert budget.judge(left, Decimal("3.20"), spent=Decimal("2.70")).verdict == "start"
    refused = budget.judge(left, Decimal("3.00"), spent=Decimal("2.70"))
    assert refused.message == (
        "what is left of the run costs an estimated $0.39 to $0.39, the budget is $3.00, of which $2.70 is spent"
    )
    assert refused.help == "write `budget.max_usd: 4`, or make the run smaller"


def test_of_several_kinds_of_gpu_the_dearest_is_judged_too() -> None:
    cheap, dear = cost("1.00", "2.00"), cost("4.00", "5.00").model_copy(update={"gpu": "B200"})
    assert budget.judge_each((cheap, dear), Decimal("6.00")).verdict == "start"
    refused = budget.judge_each((cheap, dear), Decimal("3.00"))
    assert refused.message == "on B200 the run costs an estimated $4.00 to $5.00, the budget is $3.00"
    assert budget.judge_each((cheap,), Decimal("0.50")).message.startswith("the run costs")
    assert budget.judge_each((), Decimal("0.50")).verdict == "start"


def test_a_month_s_cap_counts_the_runs_before() -> None:
    assert budget.judge_month(cost("2.00", "3.00"), Decimal(100), Decimal("96.00")).verdict == "start"
    assert budget.judge_month(cost("2.00", "3.00"), Decimal(100), Decimal("97.50")).verdict == "ask"
    assert budget.judge_month(cost("2.00", "3.00"), Decimal(100), Decimal("98.50")).verdict == "refuse"


def test_the_strictest_judgement_counts() -> None:
    ask, refuse = budget.Judgement("ask"), budget.Judgement("refuse")
    assert budget.strictest((budget.Judgement("start"), ask, refuse)) is refuse


def test_an_attempt_is_cut_where_the_money_ends() -> None:
    left = budget.timeout_seconds(Decimal("3.00"), Decimal("1.00"), Decimal("0.002"), 86400)
    assert left == pytest.approx(1000 + budget.SPARE_SECONDS)
    assert budget.timeout_seconds(None, Decimal(0), Decimal("0.002"), 86400) == 86400


def test_the_reserve_lets_a_checkpoint_be_written() -> None:
    assert budget.reserve_seconds(cost("1", "2")) == 5 + 2 * 2.0
