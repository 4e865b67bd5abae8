"""The live view of a run.  rich is known here and in `terminal_tables` alone.

One panel is drawn over itself a few times a second, whatever the number of events, so that watching costs the same in a
run of ten thousand steps; what should stay (warnings, what the user must know) is printed above it.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, get_args

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sftrun.contract import events
from sftrun.contract.events import AnyEvent, StageName
from sftrun.contract.jobspec import MoneySpec
from sftrun.report.show import figures
from sftrun.report.show.progress import Watcher, describe, stage_words
from sftrun.run.state import RunState

_FRAMES_PER_SECOND = 8
# an evaluation between steps is part of the training
_STAGES: tuple[StageName, ...] = tuple(name for name in get_args(StageName) if name != "eval")
_SHORT: dict[StageName, str] = {
    "samples_before": "ask base",
    "samples_after": "ask tuned",
    "evaluate_before": "test base",
    "evaluate_after": "test tuned",
}
_BARS = "▁▂▃▄▅▆▇█"
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveView(Watcher):
    """The panel.  `clock` and the console are arguments, so that a test can hold time and width still."""

    def __init__(
        self,
        console: Console,
        title: str,
        money: MoneySpec | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._console, self._title, self._money, self._clock = console, title, money or MoneySpec(), clock
        self._state = RunState()
        self._drawn_at = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True, get_renderable=self.render)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def heard(self, event: AnyEvent, state: RunState) -> None:
        self._state = state
        is_warning = isinstance(event, events.Note) and event.level == "warning"
        if is_warning or isinstance(event, events.Disobeyed | events.StoppedEarly):
            self.say(describe(event))
        self.tick(state)

    def tick(self, state: RunState) -> None:
        self._state = state
        now = time.monotonic()
        if now - self._drawn_at >= 1 / _FRAMES_PER_SECOND:
            self._drawn_at = now
            self._live.refresh()

    def say(self, text: str) -> None:
        self._console.print(Text(figures.printable(text)))

    def render(self) -> RenderableType:
        """The panel as it should look now."""
        state, now = self._state, self._clock()
        parts: list[RenderableType] = [self._head(state), stages_line(state, now)]
        if state.total_steps:
            parts += [bar_line(state), self._figures(state, now)]
        if len(state.curve) > 1:
            parts.append(curve_line(state, self._console.width))
        return Group(*parts)

    def _head(self, state: RunState) -> Text:
        head = Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")
        if state.started is not None:
            attempt = f"  attempt {state.attempt}" if state.attempt > 1 else ""
            head.append(f"  {state.started.device}{attempt}", style="dim")
        return head

    def _figures(self, state: RunState, now: float) -> Text:
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        last = state.last
        if last is not None:
            line.append("loss ", style="dim").append(figures.loss(last.loss), style="bold")
            line.append(f"  lr {figures.rate(last.learning_rate)}", style="dim")
            line.append(f"  {last.tokens_per_second:,.0f} tok/s") if last.tokens_per_second else None
            line.append(f"  {last.memory_gb:.2f} GB") if last.memory_gb else None
        if self._money.usd_per_second:
            line.append(f"  {figures.dollars(state.spent_at(now, self._money))}", style="yellow")
        return line


def stages_line(state: RunState, now: float) -> Text:
    """The stages in their order: done with their time, the present one with its clock."""
    line = Text("  ", overflow="fold")
    present: StageName | None = "train" if state.stage == "eval" else state.stage
    for name in _STAGES:
        label, spent = _SHORT.get(name, name), state.stage_seconds.get(name)
        if name == present:
            running = now - state.stage_since + (spent or 0.0)
            spinner = _SPINNER[int(now * _FRAMES_PER_SECOND) % len(_SPINNER)]
            line.append(f"{spinner} {label} {figures.clock(running)}  ", style="bold cyan")
        elif spent is not None:
            line.append("✓ ", style="green").append(f"{label} {figures.duration(spent)}  ")
        elif name in ("data", "model", "train", "save"):
            line.append(f"· {label}  ", style="dim")
    if state.stage == "eval":
        line.append(stage_words("eval"), style="cyan")
    return line


def bar_line(state: RunState) -> Table:
    """The bar, the steps, and the time left at the pace of the last steps."""
    total = state.total_steps or 1
    left = f"{figures.clock(state.seconds_left)} to go" if state.seconds_left else ""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_row(
        "",
        ProgressBar(total=total, completed=state.step, complete_style="cyan", finished_style="green"),
        f"{state.step}/{total}  {state.step * 100 // total} %  {left}",
    )
    return grid


def curve_line(state: RunState, width: int) -> Text:
    """The losses so far as a row of small bars, and the last evaluation."""
    tail = ""
    if state.evals:
        step, value = state.evals[-1]
        tail = f"  eval {figures.loss(value)} at step {step}"
    room = max(min(width - len(tail) - 4, 80), 8)
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    return line.append(sparkline([value for _, value in state.curve], room), style="cyan").append(tail, style="dim")


def sparkline(values: list[float], width: int) -> str:
    """At most `width` bars; each is the mean of its share of the values."""
    count = min(width, len(values))
    bins = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in bins]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1))] for mean in means)


def live_view(out: IO[str], title: str, money: MoneySpec) -> LiveView:
    """The live view on a terminal."""
    return LiveView(Console(file=out, highlight=False), title, money)
