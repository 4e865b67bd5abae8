"""Twenty budgets that run out at twenty moments of a training, and what each attempt left: one JSON line a try.

python -m tests.job.budget_tries FOLDER [TRIES]
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from sftrun.contract.events import AnyEvent, Stage, Started, Step
from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, MoneySpec
from sftrun.job.channel import Channel
from sftrun.job.supervise import checkpoints
from tests.job import tiny
from tests.job.clocked import Clock, attempt
from tests.job.runs import curve, record

SEED = 20261125
FACTOR = 20.0
RESERVE = 1200.0  # seconds of the fast clock: a minute, for a machine with other things to do
RESUMED = (0, 1)
TRAINER = {"max_steps": 120, "logging_steps": 1, "save_steps": 25}
ENDLESS = {"max_steps": 4000}


def main(folder: Path, tries: int) -> None:
    model = tiny.make_model(folder / "model")
    data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(40))
    whole = tiny.make_job(folder / "whole", model, data, trainer=TRAINER)
    assert _attempt(whole)[-1].kind == "finished"
    for number in range(tries):
        _say(_try(number, folder / str(number), model, data, whole))
    _say(_deaf_worker(folder / "deaf", model, data))


def _try(number: int, folder: Path, model: Path, data: Path, whole: JobSpec) -> dict[str, Any]:
    draw = random.Random(SEED + number)
    trainer, source = TRAINER, DatasetSpec(train=(DataSource(files=(str(data),)),))
    if number not in RESUMED:
        trainer = TRAINER | ENDLESS | {"logging_steps": draw.choice((1, 4, 50)), "save_steps": draw.choice((2, 7, 500))}
        trainer |= {"eval_steps": 9} if number % 5 == 4 else {}
        source = source.model_copy(update={"eval_fraction": 0.1 if number % 5 == 4 else None})
    price, moment = draw.uniform(0.0003, 0.02), draw.uniform(0.2, 16.0)
    budget = price * (moment + RESERVE)
    money = MoneySpec(usd_per_second=_usd(price), max_usd=_usd(budget), reserve_seconds=RESERVE)
    spec = tiny.make_job(folder, model, data, trainer=trainer, dataset=source, money=money)
    said = _outcome(spec, _attempt(spec))
    if number in RESUMED:
        more = money.model_copy(update={"max_usd": _usd(100 * budget)})
        resumed = _attempt(spec.model_copy(update={"money": more}))
        begun = next(event for event in resumed if isinstance(event, Started))
        said["resumed"] = {
            "from": begun.resumed_from,
            "end": resumed[-1].kind,
            "spent_more": resumed[-1].spent_usd > Decimal(said["spent"]),
            "same_curve": curve(record(spec)) == curve(record(whole)),
            "steps": len(curve(record(spec))),
        }
    return said


def _deaf_worker(folder: Path, model: Path, data: Path) -> dict[str, Any]:
    """One that stops at step 12 for good: it is ended before the money is gone, with the checkpoints that it has."""
    money = MoneySpec(usd_per_second=Decimal("0.01"), max_usd=Decimal(1), reserve_seconds=60.0)
    spec = tiny.make_job(folder, model, data, trainer=TRAINER | {"save_steps": 5}, money=money)
    say = Channel.say

    def say_and_stop(channel: Channel, event: AnyEvent) -> None:
        say(channel, event)
        if _is_step_12(event):
            os.kill(os.getpid(), signal.SIGSTOP)

    Channel.say = say_and_stop  # type: ignore[assignment,method-assign]  # in the worker, which is a fork
    return _outcome(spec, _attempt(spec, _is_step_12))


def _trains(event: AnyEvent) -> bool:
    return isinstance(event, Stage) and event.name == "train"


def _is_step_12(event: AnyEvent) -> bool:
    return isinstance(event, Step) and event.step == 12


def _attempt(spec: JobSpec, begins: Callable[[AnyEvent], bool] = _trains) -> list[AnyEvent]:
    """The clock stands still until the event that `begins` it."""
    clock = Clock(FACTOR)
    return attempt(spec, clock, lambda event: clock.begin() if begins(event) else None)


def _outcome(spec: JobSpec, seen: list[AnyEvent]) -> dict[str, Any]:
    last, found = seen[-1], checkpoints.find(spec.checkpoints_dir, spec.run_id)
    return {
        "end": last.kind,
        "reason": getattr(last, "reason", None),
        "step": last.step,
        "checkpoint_step": found.step,
        "names_it": getattr(last, "checkpoint", None) == str(found.newest),
        "spent": str(last.spent_usd),
        "budget": str(spec.money.max_usd),
    }


def _usd(amount: float) -> Decimal:
    return Decimal(str(round(amount, 6)))


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
