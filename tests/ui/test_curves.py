"""What a page draws of a run's events."""

from decimal import Decimal

from sftrun.contract.events import AnyEvent, Evaluated, Started, Step
from sftrun.contract.jobspec import MoneySpec
from sftrun.run.state import RunState, advance
from sftrun.ui.curves import MOST_POINTS, Curves

MONEY = MoneySpec(usd_per_second=Decimal("0.001"))


def started(seq: int, at: float, attempt: int = 1, resumed_from: int | None = None) -> Started:
    return Started(
        seq=seq,
        at=at,
        run_id="r",
        attempt=attempt,
        host="h",
        pid=1,
        device="cpu",
        gpu_count=0,
        resumed_from=resumed_from,
    )


def step(seq: int, number: int, at: float) -> Step:
    loss = 1 / number
    return Step(seq=seq, at=at, step=number, total_steps=9, epoch=0, loss=loss, learning_rate=1e-3, tokens=number * 100)


def drawn(*events: AnyEvent) -> Curves:
    curves, state = Curves(), RunState()
    for event in events:
        state = advance(state, event)
        curves.hear(event, state, MONEY)
    return curves


def test_each_point_knows_its_step_seconds_tokens_and_usd() -> None:
    evaluated = Evaluated(seq=4, at=1030.0, step=2, loss=0.7, rows=5)
    columns = drawn(started(1, 1000.0), step(2, 1, 1010.0), step(3, 2, 1020.0), evaluated).columns()
    assert columns["steps"]["step"] == [1, 2]
    assert columns["steps"]["seconds"] == [10, 20]
    assert columns["steps"]["tokens"] == [100, 200]
    assert columns["steps"]["usd"] == [0.01, 0.02]
    assert columns["steps"]["tokens_per_second"] == [None, None]
    assert columns["evals"] == {"step": [2], "seconds": [30], "tokens": [200], "usd": [0.03], "loss": [0.7]}


def test_an_attempt_takes_back_what_it_does_again() -> None:
    again = started(5, 2000.0, attempt=2, resumed_from=1)
    curves = drawn(started(1, 1000.0), step(2, 1, 1010.0), step(3, 2, 1020.0), step(4, 3, 1030.0), again)
    assert curves.columns()["steps"]["step"] == [1]


def test_a_long_run_is_thinned_over_its_whole_length() -> None:
    curves = drawn(started(1, 0.0), *(step(n + 1, n, float(n)) for n in range(1, 10_001)))
    steps = [x or 0 for x in curves.columns()["steps"]["step"]]
    assert len(steps) <= MOST_POINTS
    assert min(steps) < 100
    assert max(steps) > 9_900
    assert steps == sorted(steps)
