"""The page that is forwarded: whole, safe, and right about the error."""

import base64
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from sftrun.contract import events
from sftrun.plan.estimate.total import priced
from sftrun.plan.types import Plan
from sftrun.report.show import chart
from sftrun.report.show.html import Curves, curves, page
from sftrun.report.summary import Compared, Point, Report, error_percent, report
from sftrun.run.billing import Billed
from sftrun.run.ledger import Manifest
from sftrun.run.state import fold
from tests.plan.test_estimate import census, facts, plan_of

VOID = {"meta", "br", "line", "path", "input"}


def plan() -> Plan:
    return priced(plan_of(census()), facts())


def said(prompt: str = "hello", answer: str = "tuned answer") -> list[events.AnyEvent]:
    made: list[events.AnyEvent] = [
        events.Started(run_id="3f2a9c01de", attempt=1, host="h", pid=1, device="NVIDIA H200", gpu_count=1),
        events.Stage(name="train"),
        *(
            events.Step(
                step=n,
                total_steps=60,
                epoch=n / 60,
                loss=3 / n**0.5,
                learning_rate=2e-4,
                tokens_per_second=20_000.0,
                seconds_per_step=0.6,
                memory_gb=55.0,
            )
            for n in range(10, 61, 10)
        ),
        events.Evaluated(step=60, loss=0.41, rows=50),
        events.Sample(when="before", index=0, prompt=prompt, text="base answer"),
        events.Sample(when="after", index=0, prompt=prompt, text=answer),
        events.Finished(step=60, train_loss=0.7, output_dir="/vol/out", memory_gb=55.0),
    ]
    return [event.model_copy(update={"seq": i + 1, "at": 1000.0 + 60 * i}) for i, event in enumerate(made)]


def reported(course: list[events.AnyEvent]) -> Report:
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
    return report(manifest, plan(), fold(course), "/vol/out")


def written(course: list[events.AnyEvent] | None = None) -> str:
    course = said() if course is None else course
    return page(reported(course), plan(), curves(course))


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Balanced:
    found = Balanced()
    found.feed(text)
    assert found.open == []
    return found


def test_the_page_is_well_formed_and_asks_for_nothing() -> None:
    text = written()
    read(text)
    assert not re.search(r"src=|href=(?!.data:text/csv)|url\(|@import|<script", text)


def test_it_shows_curves_samples_estimates_and_the_resolved_recipe() -> None:
    text = written()
    shown = read(text).text
    for words in ("loss, dots: eval", "learning rate", "speed (tokens/s)", "memory (GB at most)"):
        assert words in shown
    for words in ("base answer", "tuned answer", "Estimate and fact", '"checkpointing"', "calibrated on"):
        assert words in shown
    assert text.count("<svg") == 5  # the loss on two scales


def test_it_begins_with_what_came_of_it() -> None:
    shown = read(written()).text
    assert "Finished after" in shown
    assert "Held-out loss 0.4100; before training it was not measured." in shown


def test_it_says_when_an_earlier_model_was_better() -> None:
    evals = [events.Evaluated(step=n, loss=loss, rows=50) for n, loss in ((10, 0.9), (30, 0.3), (60, 0.5))]
    made = reported(said()).model_copy(update={"evals": tuple(Point(step=e.step, loss=e.loss) for e in evals)})
    assert "Held-out loss 0.9000 → 0.5000. It was lower at step 30: 0.3000." in read(page(made, plan(), Curves())).text


def test_its_curves_come_as_csv_and_tell_their_values_to_a_pointer() -> None:
    text = written()
    (data,) = re.findall(r'href="data:text/csv;base64,([^"]+)"', text)
    head, first, *_, last = base64.b64decode(data).decode().splitlines()
    assert head == "step,loss,learning_rate,tokens_per_second,memory_gb,eval_loss"
    assert first == "10,0.948683,0.0002,20000,55,"
    assert last.endswith(",0.41")
    assert "<title>step 10: 0.948683</title>" in text


def test_settings_stand_as_a_table() -> None:
    assert "<td>lora.r</td><td>16</td>" in written()


def test_it_says_when_the_run_began_and_how_fast_it_mostly_was() -> None:
    slow_end = [
        event.model_copy(update={"tokens_per_second": 5.0})
        if isinstance(event, events.Step) and event.step == 60
        else event
        for event in said()
    ]
    text = written(slow_end)
    assert "<dt>began</dt><dd>1970-01-01 00:16 UTC</dd>" in text
    assert "<dt>speed, median</dt><dd>20,000 tokens/s</dd>" in text


def test_two_evaluations_are_two_dots_and_no_line_between_them() -> None:
    curve = [(float(n), 1.0 / n) for n in range(1, 9)]
    two, three = (chart.line_chart("loss", curve, second=[(float(n), 0.5) for n in range(k)]) for k in (2, 3))
    assert (two.count('class="dot"'), two.count('class="two"')) == (2, 0)
    assert (three.count('class="dot"'), three.count('class="two"')) == (3, 1)


def test_what_a_model_says_can_t_become_markup() -> None:
    text = written(said(prompt="<script>alert(1)</script>", answer='</pre><img src=x onerror="y">$name'))
    assert "<script" not in text
    assert "<img" not in text
    assert "$name" in read(text).text


def test_light_and_dark_and_narrow_screens_are_provided_for() -> None:
    text = written()
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_a_run_without_a_step_still_has_a_page() -> None:
    assert "no step was logged yet" in written(said()[:2])


@pytest.mark.parametrize(
    ("low", "likely", "high", "actual", "error"),
    [(90, None, 110, 100, 0), (90, 150, 200, 100, 50), (200, None, 200, 100, 100), (1, None, 1, 0, None)],
)
def test_the_error_is_of_the_likely_figure(
    low: float, likely: float | None, high: float, actual: float, error: float | None
) -> None:
    assert error_percent(Compared(what="seconds", low=low, likely=likely, high=high, actual=actual)) == error


def test_a_step_done_twice_counts_as_done_last() -> None:
    steps = [e for e in said() if isinstance(e, events.Step)]
    redone = steps[3].model_copy(update={"loss": 9.0})
    drawn = curves([*steps, redone])
    assert [x for x, _ in drawn.loss] == [10, 20, 30, 40]
    assert drawn.loss[-1] == (40, 9.0)
    assert isinstance(drawn, Curves)


def test_a_chart_of_ten_thousand_steps_stays_small() -> None:
    text = chart.line_chart("loss", [(float(n), 1 / (n + 1)) for n in range(10_000)])
    assert len(text) < 16_000


@pytest.mark.parametrize("values", [(0.0, 0.0), (1e-9, 1e-9), (5.0, 5.0), (-1.0, 1.0), (1e6, 2e6)])
def test_any_span_can_be_drawn(values: tuple[float, float]) -> None:
    text = chart.line_chart("x", [(1.0, values[0]), (2.0, values[1])])
    assert "nan" not in text
    assert text.count("<path") == 1


def test_ticks_are_round_numbers() -> None:
    assert chart.ticks(0, 10) == [0, 5, 10]
    assert chart.log_ticks(0.04, 6) == pytest.approx([0.1, 1])


def test_a_run_without_an_estimate_has_no_empty_column() -> None:
    course = said()
    assert "<th>estimated</th>" in written()
    bare = page(reported(course), plan().model_copy(update={"cost": None}), curves(course))
    stages = bare[bare.index("Time by stage") : bare.index("Before and after")]
    assert "<th>estimated</th>" not in stages
    assert stages.count("<td") == 3 * stages.count("<tr><td")


def test_a_gpu_s_memory_is_not_compared_with_that_of_a_process() -> None:
    started, *others = said()
    on_cpu = [started.model_copy(update={"device": "cpu", "gpu_count": 0}), *others]
    compared = [[one.what for one in reported(course).estimates] for course in (said(), on_cpu)]
    assert set(compared[0]) - set(compared[1]) == {"memory_gb"}


def test_a_long_path_and_a_bill_have_a_row_of_their_own() -> None:
    billed = Billed(usd=Decimal("1.25"), through=7200.0, asked_at=7300.0)
    folder = "/data/checkpoints/a-folder-with-a-long-name/quickstart"
    found = reported(said()).model_copy(update={"billed": billed, "output_dir": folder})
    text = page(found, plan(), Curves())
    assert f'<div class="row"><dt>adapter</dt><dd>{folder}</dd></div>' in text
    assert "$1.25 in Modal&#x27;s report up to 1970-01-01 02:00 UTC, before credits; no later hour is in it" in text
    assert '<div class="row"><dt>billed</dt>' in text


def test_a_bill_of_the_running_hour_is_not_there_yet() -> None:
    billed = Billed(usd=Decimal(0), through=-3600.0, asked_at=-100.0)
    text = page(reported(said()).model_copy(update={"billed": billed}), plan(), Curves())
    assert (
        "nothing yet: Modal&#x27;s report has whole hours alone, the first of this run ends 1970-01-01 01:00 UTC"
        in text
    )
