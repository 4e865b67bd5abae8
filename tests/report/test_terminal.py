"""What a person sees, as text, in a narrow and in a wide terminal.

The expected screens are in `snapshots/`; SFTRUN_WRITE_SNAPSHOTS=1 writes them anew.
"""

import io
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console, RenderableType

from sftrun.contract import events
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import MoneySpec
from sftrun.plan.build import build
from sftrun.plan.types import Plan
from sftrun.report.cost_sums import Spent, costs
from sftrun.report.show import figures
from sftrun.report.show.progress import Lines
from sftrun.report.show.terminal import LiveView, sparkline
from sftrun.report.show.terminal_cost import costs as cost_table
from sftrun.report.show.terminal_tables import plan_tables, run_summary, runs_table, side_by_side
from sftrun.report.summary import Compared, Failure, Report, report
from sftrun.run.ledger import Manifest
from sftrun.run.listing import Row
from sftrun.run.state import RunState, advance, fold
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3

SNAPSHOTS = Path(__file__).parent / "snapshots"
WIDTHS = pytest.mark.parametrize("width", [80, 200])


def course(until: str = "finished") -> list[AnyEvent]:
    """A run's events, up to the first of a kind."""
    started = events.Started(run_id="3f2a9c01de", attempt=1, host="h", pid=1, device="NVIDIA H200", gpu_count=1)
    said: list[AnyEvent] = [
        started,
        events.Stage(name="data"),
        events.DataReady(format="instruction", rows=450, eval_rows=50, tokens=32_110, learnt_tokens=12_003),
        events.Stage(name="model"),
        events.ModelReady(parameters=3_456_789, trainable_parameters=123_456, total_steps=60),
        events.Stage(name="samples_before"),
        events.Sample(when="before", index=0, prompt="a pod for nginx", text="the the the"),
        events.Stage(name="train"),
    ]
    said += [
        events.Step(
            step=n,
            total_steps=60,
            epoch=n / 60,
            loss=3 / n**0.5,
            learning_rate=2e-4 * (1 - n / 61),
            tokens_per_second=12_345,
            seconds_per_step=0.5,
            memory_gb=1.25,
        )
        for n in range(10, 61, 10)
    ]
    said += [
        events.Evaluated(step=60, loss=0.41, rows=50),
        events.Stage(name="samples_after"),
        events.Sample(
            when="after", index=0, prompt="a pod for nginx", text="apiVersion: v1\nkind: Pod\nmetadata:\n  name: x"
        ),
        events.Stage(name="save"),
        events.Finished(
            step=60, train_loss=0.7, output_dir="/vol/out/quick", memory_gb=1.31, spent_usd=Decimal("0.42")
        ),
    ]
    numbered = [event.model_copy(update={"seq": i + 1, "at": 1000.0 + 2 * i}) for i, event in enumerate(said)]
    kinds = [event.kind for event in numbered]
    return numbered[: kinds.index(until) + 1]


def made(state: RunState, cost: object = None) -> Report:
    manifest = Manifest(
        id="3f2a9c01de",
        name="quickstart",
        identity="i",
        generation=1,
        created=1.0,
        user="u",
        host="h",
        executor="modal",
        model="builtin:tiny",
        recipe_file="/r.yaml",
    )
    plan = cast(Plan, SimpleNamespace(cost=cost, memory=None, adapter=None))
    return report(manifest, plan, state, "/vol/out/quick")


def screen(content: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(content)
    assert isinstance(console.file, io.StringIO)
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())


def agrees(name: str, text: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("SFTRUN_WRITE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@WIDTHS
def test_the_live_view(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    view = LiveView(console, "quickstart 3f2a9c01de", MoneySpec(usd_per_second=Decimal("0.01")), clock=lambda: 1040.0)
    state = RunState()
    for event in course()[:13]:
        state = advance(state, event)
        view.heard(event, state)
    agrees(f"live-{width}", screen(view.render(), width))


@WIDTHS
def test_the_summary_of_a_finished_run(width: int) -> None:
    summary = made(fold(course())).model_copy(
        update={
            "estimates": (
                Compared(what="seconds", low=30, high=60, actual=44),
                Compared(what="usd", low=0.3, high=0.5, actual=0.42),
            )
        }
    )
    agrees(f"summary-{width}", screen(run_summary(summary), width))


def test_a_stopped_run_says_why() -> None:
    stopped = made(fold(course("step"))).model_copy(update={"status": "stopped", "stop_reason": "budget"})
    assert screen(run_summary(stopped), 80).splitlines()[0].endswith("stopped (its budget is used up) on NVIDIA H200")


def test_the_summary_of_a_failed_run() -> None:
    failure = Failure(
        failure="out_of_memory",
        stage="train",
        message="CUDA is out of memory",
        help="smaller batch",
        tail=("a", "b\x1b[2J"),
    )
    state = fold(course("step"))
    summary = made(state).model_copy(update={"status": "failed", "failure": failure})
    agrees("failed-80", screen(run_summary(summary), 80))


@WIDTHS
def test_the_list_of_runs(width: int) -> None:
    listed = [
        Row("3f2a9c01de", "quickstart", "finished", 1000.0, "local", "builtin:tiny", 60, 60, 0.41, "0"),
        Row(
            "99aabbccdd",
            "phi3-census",
            "running",
            100.0,
            "modal",
            "unsloth/Phi-3-mini-4k-instruct",
            7,
            900,
            1.5,
            "1.25",
        ),
        Row("0000000000", problem="run.json is missing"),
    ]
    agrees(f"runs-{width}", screen(runs_table(listed, 90_000.0), width))


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = [("p" * 300, "b " * 200, "日本語" * 100)]
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(side_by_side(long))
    assert isinstance(console.file, io.StringIO)
    from rich.cells import cell_len

    assert max(cell_len(line) for line in console.file.getvalue().splitlines()) <= width


def test_markup_in_an_answer_is_only_text() -> None:
    assert "[bold]x[/bold]" in screen(side_by_side([("[red]p", "[bold]x[/bold]", None)]), 80)


def test_plain_lines_are_few_in_a_long_run() -> None:
    out = io.StringIO()
    lines, state = Lines(out), RunState()
    for n in range(10_000):
        step = events.Step(
            seq=n + 1, at=n * 0.01, step=n + 1, total_steps=10_000, epoch=0, loss=1.0, learning_rate=1e-4
        )
        state = advance(state, step)
        lines.heard(step, state)
    assert 45 <= len(out.getvalue().splitlines()) <= 55


def test_a_sparkline_of_many_values_has_the_width_asked_for() -> None:
    line = sparkline([float(1000 - n) for n in range(1000)], 20)
    assert len(line) == 20
    assert (line[0], line[-1]) == ("█", "▁")


def test_a_flat_curve_is_flat() -> None:
    assert set(sparkline([2.0] * 5, 10)) == {"▁"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[2Jb", "a�[2Jb"), ("a\rb\x07", "a�b�"), ("x\u202ey", "x�y"), ("日本 🚀\n\tok", "日本 🚀\n\tok")],
)
def test_control_characters_are_shown_not_obeyed(text: str, shown: str) -> None:
    assert figures.printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3599, "59:59"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert figures.clock(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "$0.00"), ("0.0123", "$0.0123"), ("0.42", "$0.42"), ("1234.5", "$1,234.50")]
)
def test_dollars(amount: str, text: str) -> None:
    assert figures.dollars(Decimal(amount)) == text


@pytest.mark.parametrize(("value", "text"), [(3.0, "3.000"), (0.0123, "0.0123"), (12.345, "12.35"), (5e6, "5.000e+06")])
def test_loss(value: float, text: str) -> None:
    assert figures.loss(value) == text


@pytest.mark.parametrize(
    ("days", "text"), [(0, "from today"), (1, "1 day old"), (51, "51 days old"), (-359, "dated 359 days ahead")]
)
def test_the_age_of_prices(days: int, text: str) -> None:
    assert figures.days_old(days) == text


LONG = "a-recipe-with-a-name-that-is-as-long-as-a-name-may-be-63-letters"


def test_a_long_name_takes_no_figure_of_a_list_away() -> None:
    row = Row("3f2a9c01de", LONG, "finished", 1.0, "modal", "unsloth/Phi-3-mini", 12345, 24092, 0.123, "12.34")
    line = screen(runs_table([row], 100_000.0), 80).splitlines()[1]
    for figure in ("3f2a9c01de", "finished", "12345/24092", "0.1230", "$12.34"):
        assert figure in line


def test_a_long_name_takes_no_figure_of_the_costs_away() -> None:
    spent = Spent(
        run_id="3f2a9c01de",
        recipe=LONG,
        tags={},
        gpu="H200",
        began="2026-11-10",
        seconds=123_456.0,
        usd=Decimal("12345.67"),
        estimated_usd=Decimal(13000),
    )
    said = screen(cost_table(costs([spent], "recipe", today=date(2026, 11, 26))), 80)
    assert "1   34 h 17 min   $12,345.67   $13,000.00" in said
    assert "…" not in said


def test_a_decided_key_stands_whole_in_a_narrow_terminal() -> None:
    made = recipe(quantization={"load_in_4bit": True}, compute={"executor": "modal", "gpu": "T4"})
    plan = build(made, facts(model=phi3()), folders={})
    lines = screen(plan_tables(plan), 80).splitlines()
    for decision in plan.decisions:
        assert any(line.startswith(f"{decision.at} ") for line in lines), decision.at


def test_one_step_is_no_steps() -> None:
    assert (figures.steps(1), figures.steps(1_200)) == ("1 step", "1,200 steps")


def test_a_run_that_stopped_early_is_finished_and_says_why() -> None:
    early = events.StoppedEarly(step=60, patience=1, metric="eval_loss", best=1.25, best_step=30)
    said = course("eval")[:-1]
    said += [
        events.Evaluated(step=30, loss=1.25, rows=50, best_step=30),
        events.Evaluated(step=60, loss=1.5, rows=50, best_step=30),
        early,
        events.Finished(step=60, saved_step=30, train_loss=1.0, output_dir="/out/a"),
    ]
    numbered = [event.model_copy(update={"seq": n, "at": float(n)}) for n, event in enumerate(said, 1)]
    usd = (Decimal(1), Decimal(2), Decimal(3))
    found = made(
        fold(numbered),
        SimpleNamespace(job_seconds=(1.0, 2.0, 3.0), job_usd=usd, seconds_per_step=0.5, first_steps_seconds=0.0),
    )
    text = screen(run_summary(found), 100)
    assert "finished" in text.splitlines()[0]
    assert "step 30, eval loss 1.250; its weights were saved" in text
    assert "after step 60: eval_loss was no better than 1.250 (step 30) in 1 evaluation" in " ".join(text.split())
    assert [one.what for one in found.estimates] == ["seconds_per_step"]  # the others are of all steps
