"""A budget that holds: what to do about an estimate before a run starts, and how a month adds up.  Pure."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import ceil
from typing import Final, Literal, NamedTuple, Protocol

from sftrun.plan.types import CostEstimate

Verdict = Literal["start", "ask", "refuse"]
# what a dead supervisor could spend at most beyond the budget: an attempt is cut a little after the money is gone
SPARE_SECONDS: Final = 60.0
# stages whose time goes with the steps
BY_STEPS: Final = ("train", "eval", "save", "attempts")


class Judgement(NamedTuple):
    """May it start?  `message` says why not, or what to ask; `help` one thing to do."""

    verdict: Verdict
    message: str = ""
    help: str = ""


def remaining(found: CostEstimate, steps_taken: int) -> CostEstimate:
    """What a run still costs that goes on after so many steps: it begins anew, and takes the rest of them."""
    share = min(steps_taken / max(found.steps, 1), 1.0)
    taken = [stage for stage in found.stages if stage.name in BY_STEPS]
    low, high = sum(stage.low for stage in taken), sum(stage.high for stage in taken)
    saved = [Decimal(str(round(share * seconds, 3))) * found.usd_per_second for seconds in (low, high)]
    return found.model_copy(update={"usd_low": found.usd_low - saved[0], "usd_high": found.usd_high - saved[1]})


def judge(found: CostEstimate | None, max_usd: Decimal | None, *, spent: Decimal = Decimal(0)) -> Judgement:
    """Above the estimate's low end the run can't end within the budget; between low and high it may not."""
    if max_usd is None:
        return Judgement("start")
    left = max_usd - spent
    if found is None:
        if left > 0:
            return Judgement("start")
        return Judgement("refuse", f"the budget of {money(max_usd)} is spent", "raise `budget.max_usd`")
    what = "what is left of the run" if spent else "the run"
    price = f"an estimated {money(found.usd_low)} to {money(found.usd_high)}"
    budget = f"the budget is {money(max_usd)}" + (f", of which {money(spent)} is spent" if spent else "")
    if found.usd_low > left:
        help = f"write `budget.max_usd: {ceil(found.usd_high + spent)}`, or make the run smaller"
        return Judgement("refuse", f"{what} costs {price}, {budget}", help)
    if found.usd_high > left:
        return Judgement("ask", f"{what} costs {price}, {budget}: it may stop before its end", "say `--yes` to start")
    return Judgement("start")


def judge_each(found: Sequence[CostEstimate], max_usd: Decimal | None, *, spent: Decimal = Decimal(0)) -> Judgement:
    """Of several kinds of GPU any one may come: what the strictest of them asks for, with its name."""
    if len(found) < 2:
        return judge(found[0] if found else None, max_usd, spent=spent)
    judged = ((cost.gpu, judge(cost, max_usd, spent=spent)) for cost in found)
    return strictest(one._replace(message=f"on {gpu} {one.message}") for gpu, one in judged)


class Span(Protocol):
    """What something costs, low and high."""

    @property
    def usd_low(self) -> Decimal: ...
    @property
    def usd_high(self) -> Decimal: ...


def judge_month(found: Span | None, cap: Decimal | None, spent_this_month: Decimal) -> Judgement:
    """The same for the project's cap of a calendar month (`[budget] month_usd` of sftrun.toml)."""
    if cap is None:
        return Judgement("start")
    low, high = (found.usd_low, found.usd_high) if found is not None else (Decimal(0), Decimal(0))
    said = f"this month's runs cost {money(spent_this_month)} of {money(cap)}"
    if spent_this_month + low > cap:
        return Judgement("refuse", f"{said}, this one at least {money(low)} more", "raise `month_usd` in sftrun.toml")
    if spent_this_month + high > cap:
        return Judgement("ask", f"{said}, this one up to {money(high)} more", "say `--yes` to start")
    return Judgement("start")


def strictest(judgements: Iterable[Judgement]) -> Judgement:
    """The one that holds back most."""
    order = {"refuse": 0, "ask": 1, "start": 2}
    return min(judgements, key=lambda judgement: order[judgement.verdict], default=Judgement("start"))


def timeout_seconds(max_usd: Decimal | None, spent: Decimal, usd_per_second: Decimal, timeout: float) -> float:
    """An attempt's timeout: never longer than what is left of the budget pays for."""
    if max_usd is None or usd_per_second <= 0:
        return timeout
    left = float(max(max_usd - spent, Decimal(0)) / usd_per_second)
    return max(min(timeout, left + SPARE_SECONDS), 1.0)


def reserve_seconds(found: CostEstimate | None) -> float:
    """Kept back for the last checkpoint: a step, and the saving of one."""
    if found is None:
        return 30.0
    save = next((stage.high for stage in found.stages if stage.name == "save"), 30.0)
    return round(min(save, 120.0) + 2 * found.seconds_per_step, 1)


def money(amount: Decimal) -> str:
    """`$16.70`; small amounts keep the digits that say something."""
    return f"${amount:.2f}" if amount >= 1 or amount == round(amount, 2) else f"${amount:.4f}"
