"""Numbers as people read them.  One place, so that a figure looks the same in a progress bar, a table and a log."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from sftrun.disk import outside
from sftrun.recipe import secrets


class Early(Protocol):
    """Training that ended before its last step."""

    @property
    def step(self) -> int: ...

    @property
    def patience(self) -> int: ...

    @property
    def metric(self) -> str: ...

    @property
    def best(self) -> float: ...

    @property
    def best_step(self) -> int: ...


def clock(seconds: float) -> str:
    """0:07, 12:34, 1:02:03."""
    whole = max(round(seconds), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def duration(seconds: float) -> str:
    """0.8 s, 12 s, 3 min 20 s, 5 h 2 min."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def dollars(amount: Decimal) -> str:
    """$12.34; four places below ten cents, where two would say nothing."""
    return f"${amount:.4f}" if 0 < amount < Decimal("0.1") else f"${amount:,.2f}"


def days_old(days: int) -> str:
    """51 days old; a date that is still to come is said to be."""
    if days < 0:
        return f"dated {-days} {'day' if days == -1 else 'days'} ahead"
    return "from today" if days == 0 else f"{days} {'day' if days == 1 else 'days'} old"


def minute(at: float) -> str:
    """2026-11-25 14:07 UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def loss(value: float) -> str:
    """Four digits that count: 12.34, 1.234, 0.0123."""
    if 0.1 <= abs(value) < 1000:
        return f"{value:#.4g}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.3e}"


def stopped_early(early: Early) -> str:
    """Since when, and why."""
    times = f"{early.patience} {'evaluation' if early.patience == 1 else 'evaluations'}"
    best = f"{loss(early.best)} (step {early.best_step:,})"
    return f"after step {early.step:,}: {early.metric} was no better than {best} in {times}"


def steps(number: int) -> str:
    """1 step, 1,200 steps."""
    return f"{number:,} {'step' if number == 1 else 'steps'}"


def rate(value: float) -> str:
    """A learning rate: 2.00e-04."""
    return f"{value:.2e}"


def share(part: float, whole: float) -> str:
    """A share in per cent, with as many places as it takes to be no zero."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2f} %"


def printable(text: str) -> str:
    """Text of a model, a log or a name as a terminal may have it: nothing that it would obey, and no keys."""
    return outside.printable(secrets.mask(text))
