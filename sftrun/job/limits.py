"""What a run may cost and how long it may take: pure, so that a test needs no clock.

`due` comes early by the reserve, for a last checkpoint; `overdue` is the limit itself, where the worker is killed.
"""

from dataclasses import dataclass
from decimal import Decimal

from sftrun.contract.events import StopReason
from sftrun.contract.jobspec import JobSpec


@dataclass(frozen=True)
class Limits:
    """`spent_before` is the money of earlier attempts; the timeout counts this attempt alone."""

    spec: JobSpec
    spent_before: Decimal

    def spent(self, elapsed: float) -> Decimal:
        """Money of the whole run, `elapsed` seconds into this attempt, in USD to six places."""
        money = self.spent_before + Decimal(str(round(elapsed, 3))) * self.spec.money.usd_per_second
        return money.quantize(Decimal("0.000001"))

    def due(self, elapsed: float) -> StopReason | None:
        """Why to stop at the next step, if there is a reason."""
        return self._reached(elapsed + self.spec.money.reserve_seconds)

    def overdue(self, elapsed: float) -> StopReason | None:
        """Why to stop at once: the money or the time is all gone."""
        return self._reached(elapsed) if self.spec.money.reserve_seconds else None

    def _reached(self, elapsed: float) -> StopReason | None:
        money = self.spec.money
        if money.max_usd is not None and money.usd_per_second and self.spent(elapsed) >= money.max_usd:
            return "budget"
        if self.spec.timeout_seconds is not None and elapsed >= self.spec.timeout_seconds:
            return "timeout"
        return None
