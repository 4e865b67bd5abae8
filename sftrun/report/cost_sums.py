"""What the ledger's runs have cost, summed by recipe, tag, GPU or month.  Runs go in as values.

A run's own count of its money is used: GPU, CPU and memory over all its attempts.  One that has not ended, or was
lost, has not said it: it counts up to the last that was heard of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from sftrun.errors import LedgerError
from sftrun.plan.estimate.total import usd
from sftrun.plan.types import Plan
from sftrun.report.observed import read_report
from sftrun.run.ledger import Ledger, RunFolder
from sftrun.run.listing import rows
from sftrun.run.state import ENDED, fold
from sftrun.run.tail import Tail
from sftrun.strict import Strict

By = Literal["recipe", "tag", "gpu", "month"]


class Spent(Strict):
    """One run's money and what it may be summed by."""

    run_id: str
    recipe: str
    tags: dict[str, str]
    gpu: str
    began: str
    seconds: float
    usd: Decimal
    estimated_usd: Decimal | None


class Group(Strict):
    """The runs of one key."""

    key: str
    runs: int
    seconds: float
    usd: Decimal
    estimated_usd: Decimal | None


class Costs(Strict):
    """A table of sums; `month_usd` is what the present month's runs cost, whatever `since` says."""

    version: Literal[1] = 1
    by: By
    since: str | None
    groups: tuple[Group, ...]
    runs: int
    seconds: float
    usd: Decimal
    month_usd: Decimal
    month_cap_usd: Decimal | None


def costs(
    runs: Sequence[Spent], by: By, *, since: date | None = None, today: date, cap: Decimal | None = None
) -> Costs:
    """Sums by key, the dearest first (months by their date)."""
    counted = [run for run in runs if since is None or date.fromisoformat(run.began) >= since]
    sums: dict[str, list[Spent]] = defaultdict(list)
    for run in counted:
        for key in keys(run, by):
            sums[key].append(run)
    groups = [_group(key, found) for key, found in sums.items()]
    ordered = sorted(groups, key=lambda g: g.key) if by == "month" else sorted(groups, key=lambda g: (-g.usd, g.key))
    return Costs(
        by=by,
        since=since.isoformat() if since else None,
        groups=tuple(ordered),
        runs=len(counted),
        seconds=round(sum(run.seconds for run in counted), 3),
        usd=sum((run.usd for run in counted), Decimal(0)),
        month_usd=spent_in_month(runs, today),
        month_cap_usd=cap,
    )


def keys(run: Spent, by: By) -> tuple[str, ...]:
    """What a run counts under; a run with two tags counts under both."""
    if by == "tag":
        return tuple(f"{name}={value}" for name, value in run.tags.items()) or ("no tag",)
    return ({"recipe": run.recipe, "gpu": run.gpu, "month": run.began[:7]}[by],)


def spent_in_month(runs: Iterable[Spent], today: date) -> Decimal:
    """USD of the runs that began in the month of `today`, for the project's cap."""
    month = today.isoformat()[:7]
    return sum((run.usd for run in runs if run.began.startswith(month)), Decimal(0))


def read(root: Path) -> tuple[Spent, ...]:
    """Every run of the ledger that can be read."""
    return tuple(_each(root)) if (root / "runs").is_dir() else ()


def _each(root: Path) -> Iterator[Spent]:
    ledger = Ledger(root)
    for row in rows(root):
        folder = ledger.folder(row.id)
        try:
            plan = folder.plan()
        except LedgerError:
            continue
        seconds, usd_so_far = (0.0, Decimal(0)) if row.status in ENDED else _so_far(folder)
        report = read_report(folder)
        began = report.began_at if report is not None and report.began_at else row.created
        yield Spent(
            run_id=row.id,
            recipe=row.name,
            tags=dict(plan.recipe.tags),
            gpu=_gpu(plan),
            began=datetime.fromtimestamp(began, UTC).date().isoformat(),
            seconds=report.seconds if report is not None else seconds,
            usd=Decimal(row.spent_usd) or usd_so_far,
            estimated_usd=usd(plan.cost) if plan.cost is not None else None,
        )


def _so_far(folder: RunFolder) -> tuple[float, Decimal]:
    try:
        state, money = fold(Tail(folder.events).read()), folder.job().money
    except LedgerError:
        return 0.0, Decimal(0)
    return state.seconds, state.spent_at(state.active_at, money)


def _gpu(plan: Plan) -> str:
    if not plan.compute.place.rents:
        return plan.compute.place.title
    count = plan.compute.gpu_count
    name = plan.cost.gpu if plan.cost is not None else next(iter(plan.compute.gpus), "CPU")
    machine = f"{name}:{count}" if count > 1 else name
    return machine if plan.compute.nodes == 1 else f"{plan.compute.nodes} × {machine}"


def _group(key: str, runs: Sequence[Spent]) -> Group:
    known = [run.estimated_usd for run in runs if run.estimated_usd is not None]
    return Group(
        key=key,
        runs=len(runs),
        seconds=round(sum(run.seconds for run in runs), 3),
        usd=sum((run.usd for run in runs), Decimal(0)),
        estimated_usd=sum(known, Decimal(0)) if known else None,
    )
