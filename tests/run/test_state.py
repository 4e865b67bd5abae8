import tracemalloc
from collections.abc import Iterator
from decimal import Decimal

import pytest

from sftrun.contract import events
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import MoneySpec
from sftrun.run.state import CURVE_POINTS, RunState, advance, fold, seen


def numbered(*said: AnyEvent, after: int = 0, at: float = 100.0) -> list[AnyEvent]:
    """The events with numbers, a second apart."""
    return [e.model_copy(update={"seq": after + i + 1, "at": at + i}) for i, e in enumerate(said)]


def started(attempt: int = 1, resumed_from: int | None = None) -> events.Started:
    device = "NVIDIA H100 80GB HBM3"
    return events.Started(
        run_id="r", attempt=attempt, host="h", pid=1, device=device, gpu_count=1, resumed_from=resumed_from
    )


def step(n: int, loss: float = 1.0) -> events.Step:
    return events.Step(step=n, total_steps=100, epoch=0, loss=loss, learning_rate=1e-3, seconds_per_step=0.5)


def test_no_events_is_a_run_that_is_starting() -> None:
    assert fold([]).status == "starting"


def test_stages_take_the_time_until_the_next_one() -> None:
    said = (started(), events.Stage(name="data"), events.Stage(name="model"), step(1), events.Stage(name="train"))
    state = fold(numbered(*said))
    assert state.stage_seconds == {"data": 1.0, "model": 2.0}
    assert state.stage == "train"


def test_an_event_heard_twice_changes_nothing() -> None:
    said = numbered(started(), step(1), step(2))
    state = fold(said)
    assert fold(said, state) == state


def test_the_end_closes_the_stage_and_keeps_the_money() -> None:
    end = events.Finished(step=2, train_loss=0.5, output_dir="/o", spent_usd=Decimal("1.5"), memory_gb=3.0)
    state = fold(numbered(started(), events.Stage(name="train"), step(2), end))
    assert (state.status, state.spent_usd, state.memory_gb) == ("finished", Decimal("1.5"), 3.0)
    assert state.stage_seconds == {"train": 2.0}


def test_a_new_attempt_takes_back_what_came_after_its_checkpoint() -> None:
    first = numbered(started(), step(1, 3.0), step(2, 2.0), events.Evaluated(step=2, loss=1.0, rows=1), step(3, 1.0))
    second = numbered(started(2, resumed_from=2), step(3, 1.5), after=5, at=1000.0)
    state = fold([*first, *second])
    assert state.curve == ((1, 3.0), (2, 2.0), (3, 1.5))
    assert state.evals == ((2, 1.0),)
    assert (state.attempt, state.step, state.status) == (2, 3, "running")
    assert state.first is not None
    assert state.first.loss == 3.0


def test_evaluations_between_steps_are_none_of_the_trainings_time() -> None:
    def evaluated(after: int) -> events.Evaluated:
        return events.Evaluated(step=after, loss=1.0, rows=9, seconds=0.25)

    between = (events.Stage(name="train"), step(1), evaluated(1), step(2), evaluated(2))
    last = (events.Stage(name="eval"), evaluated(3), events.Stage(name="save"))
    found = fold(numbered(started(), *between, *last))
    assert found.stage_seconds == {"eval": 0.5 + 2.0, "train": 5.0 - 0.5}


def test_money_goes_on_from_the_last_word_at_the_present_price() -> None:
    price = MoneySpec(usd_per_second=Decimal("0.20"), by_gpu={"H100": Decimal("0.10"), "B200": Decimal("0.20")})
    stopped = events.Stopped(reason="budget", step=2, spent_usd=Decimal("5"))
    first = numbered(events.Stage(name="start"), started(), step(2), stopped)
    assert fold(first).spent_at(9999.0, price) == Decimal("5")
    again = numbered(events.Stage(name="start"), started(2, resumed_from=2), after=4, at=5000.0)
    state = fold([*first, *again])
    assert (state.seconds_at(5010.0), state.spent_at(5010.0, price)) == (13.0, Decimal("6.000"))


def test_a_run_that_is_stopped_again_before_it_begins_costs_no_idle_time() -> None:
    stopped = events.Stopped(reason="budget", step=2, spent_usd=Decimal("5"))
    first = numbered(events.Stage(name="start"), started(), step(2), stopped)
    state = fold([*first, *numbered(events.Stage(name="start"), stopped, after=4, at=90_000.0)])
    assert (state.seconds, state.spent_usd, state.stage_seconds["start"]) == (4.0, Decimal("5"), 4.0)


def test_waiting_for_data_is_a_part_of_the_time_of_all_steps() -> None:
    quick = step(1).model_copy(update={"data_wait_share": 0.5})
    slow = step(4).model_copy(update={"data_wait_share": 0.1})
    assert fold([]).data_wait_share is None
    assert fold(numbered(started(), quick, slow)).data_wait_share == pytest.approx((0.25 + 0.15) / 2.0)


def test_time_between_attempts_does_not_count() -> None:
    state = fold([*numbered(started(), step(1)), *numbered(started(2), step(2), after=2, at=9000.0)])
    assert state.seconds == 2.0


def test_an_attempt_begins_with_the_word_of_its_supervisor() -> None:
    start = events.Stage(name="start")
    first = numbered(start, started(), events.Stage(name="train"), step(1))
    second = numbered(events.Note(message="torn"), start, started(2), step(1), after=4, at=9000.0)
    state = fold([*first, *second])
    assert state.stage_seconds == {"start": 2.0, "train": 1.0}
    assert (state.seconds_before, state.seconds) == (3.0, 5.0)
    assert fold([*first, *second[:2]]).status == "starting"


def test_samples_before_and_after_meet_by_their_index() -> None:
    before = events.Sample(when="before", index=1, prompt="p", text="old")
    after = events.Sample(when="after", index=1, prompt="p", text="new")
    state = fold(numbered(started(), before, after))
    assert (state.answers[1].prompt, state.answers[1].before, state.answers[1].after) == ("p", "old", "new")


def test_no_last_word_and_nobody_at_the_lock_is_lost() -> None:
    running = fold(numbered(started(), step(1)))
    assert seen(running, is_held=True).status == "running"
    assert seen(running, is_held=False).status == "lost"


def test_a_stopped_run_whose_lock_is_held_is_starting_again() -> None:
    stopped = fold(numbered(started(), events.Stopped(reason="user", step=1)))
    assert seen(stopped, is_held=True).status == "starting"
    assert seen(stopped, is_held=False).status == "stopped"


def test_ten_thousand_steps_keep_the_state_small() -> None:
    def many() -> Iterator[AnyEvent]:
        yield from numbered(started())
        for n in range(10_000):
            yield step(n, loss=10_000 - n).model_copy(update={"seq": n + 2, "at": 100.0 + n})

    state = fold(many())
    assert CURVE_POINTS / 2 <= len(state.curve) <= CURVE_POINTS
    assert state.first is not None
    assert state.last is not None
    assert (state.first.step, state.last.step) == (0, 9_999)
    assert [s for s, _ in state.curve] == sorted({s for s, _ in state.curve})


def test_memory_stays_flat_over_ten_thousand_events() -> None:
    state = RunState()
    tracemalloc.start()
    for n in range(10_000):
        state = advance(state, step(n).model_copy(update={"seq": n + 1, "at": float(n)}))
        if n == 1_000:
            early, _ = tracemalloc.get_traced_memory()
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert late - early < 100_000


def test_the_best_and_an_early_stop_are_taken_back_to_the_checkpoint_that_a_new_attempt_goes_on_from() -> None:
    early = events.StoppedEarly(step=30, patience=2, metric="eval_loss", best=2.0, best_step=10)
    told: list[AnyEvent] = [
        started(),
        events.Evaluated(step=10, loss=2.0, rows=5, best_step=10),
        events.Evaluated(step=30, loss=2.5, rows=5, best_step=10),
        early,
    ]
    state = fold(numbered(*told))
    assert (state.best_step, state.stopped_early and state.stopped_early.step) == (10, 30)
    kept = fold(numbered(*told, started(attempt=2, resumed_from=30)))
    assert (kept.best_step, kept.stopped_early and kept.stopped_early.step) == (10, 30)
    back = fold(numbered(*told, started(attempt=2, resumed_from=9)))
    assert (back.best_step, back.stopped_early) == (None, None)
