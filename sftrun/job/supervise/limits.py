"""What a run may cost and how long it may take: pure, so that a test needs no clock.

`due` comes early by the reserve, for a last checkpoint; `overdue` is where the worker is killed: at the last look at
the clock before the limit.
"""

from dataclasses import dataclass
from decimal import Decimal

from sftrun.contract.events import StopReason
from sftrun.contract.jobspec import JobSpec


@dataclass(frozen=True)
class Limits:
    """`spent_before` is the money of earlier attempts; the timeout counts this attempt alone, on its `device`."""

    spec: JobSpec
    spent_before: Decimal
    device: str | None = None

    def spent(self, elapsed: float) -> Decimal:
        """Money of the whole run, `elapsed` seconds into this attempt, in USD to six places."""
        money = self.spent_before + Decimal(str(round(elapsed, 3))) * self.spec.money.rate(self.device)
        return money.quantize(Decimal("0.000001"))

    def due(self, elapsed: float, reserve_seconds: float = 0.0) -> StopReason | None:
        """Why to stop at the next step, if there is a reason; the run itself may ask for a larger reserve."""
        planned = self.spec.money.reserve_seconds
        return self._reached(elapsed + (max(planned, reserve_seconds) if planned else 0.0))

    def overdue(self, elapsed: float, next_look: float = 0.0) -> StopReason | None:
        """Why to stop at once: the money or the time would be gone before the `next_look`, seconds from now."""
        planned = self.spec.money.reserve_seconds
        return self._reached(elapsed + min(next_look, planned / 2)) if planned else None

    def seconds_left(self) -> float | None:
        """From the attempt's begin to where the money is to be kept back, on the cheapest machine that it may get."""
        money = self.spec.money
        rate = min([money.usd_per_second, *money.by_gpu.values()])
        if money.max_usd is None or not rate:
            return None
        return float((money.max_usd - self.spent_before) / rate) - money.reserve_seconds

    def _reached(self, elapsed: float) -> StopReason | None:
        money = self.spec.money
        if money.max_usd is not None and money.usd_per_second and self.spent(elapsed) >= money.max_usd:
            return "budget"
        if self.spec.timeout_seconds is not None and elapsed >= self.spec.timeout_seconds:
            return "timeout"
        return None
