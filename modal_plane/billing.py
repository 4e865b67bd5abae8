"""Prices and the billing report.

As in the service the report knows whole intervals only: what a container used enters it by `bill_usage`, which
stands for the hour having passed.
"""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from modal_proto import api_pb2

from .state import Task, World
from .wire import Caller

RATE_NAMES = {
    "A10": "a10g",
    "A100": "a100_40gb",
    "A100-40GB": "a100_40gb",
    "A100-80GB": "a100_80gb",
    "RTX-PRO-6000": "rtx6000",
}


@dataclass(frozen=True)
class BillingItem:
    """One object's cost in one hour."""

    object_id: str
    description: str
    interval: datetime
    cost: Decimal
    cost_by_resource: dict[str, Decimal] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Billing:
    def __init__(self, world: World) -> None:
        self.world = world
        self.items: list[BillingItem] = []
        self._billed_seconds: dict[str, float] = {}

    def bill_usage(self, interval: datetime | None = None) -> list[BillingItem]:
        """Enter all container-seconds not yet billed, as if used in that hour (by default the last whole one)."""
        hour = (interval or datetime.now(UTC) - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
        costs: dict[str, dict[str, Decimal]] = {}
        for task in self.world.tasks.values():
            seconds = task.seconds - self._billed_seconds.get(task.id, 0.0)
            self._billed_seconds[task.id] = task.seconds
            for resource, cost in self._cost(task, seconds).items():
                of_app = costs.setdefault(task.app.id, {})
                of_app[resource] = of_app.get(resource, Decimal(0)) + cost
        items = [self._item(app_id, hour, by_resource) for app_id, by_resource in costs.items()]
        self.items += items
        return items

    async def WorkspaceBillingRates(self, request: object, caller: Caller) -> api_pb2.WorkspaceBillingRatesResponse:
        rates = self.world.settings.rates
        formatted = "\n".join(f"{key}: {value}" for key, value in rates.items())
        return api_pb2.WorkspaceBillingRatesResponse(rates=rates, formatted=formatted)

    async def WorkspaceBillingReport(
        self, request: api_pb2.WorkspaceBillingReportRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.WorkspaceBillingReportItem]:
        length = timedelta(days=1) if request.resolution == "d" else timedelta(hours=1)
        start, end = (each.ToDatetime(UTC) for each in (request.start_timestamp, request.end_timestamp))
        start = datetime.fromtimestamp(
            math.floor(start.timestamp() / length.total_seconds()) * length.total_seconds(), UTC
        )
        for item in self.items:
            begins = item.interval.replace(hour=0) if request.resolution == "d" else item.interval
            if start <= begins and begins + length <= end:
                yield _report_item(item, begins, list(request.tag_names), self.world.settings.environment)

    def _cost(self, task: Task, seconds: float) -> dict[str, Decimal]:
        resources, hours = task.definition.resources, Decimal(str(seconds)) / 3600
        amounts = {
            "cpu_hour_cost": Decimal(resources.milli_cpu or 125) / 1000,
            "mem_gib_hour_cost": Decimal(resources.memory_mb or 128) / 1024,
        }
        if task.gpu:
            name = RATE_NAMES.get(task.gpu.rstrip("!+"), task.gpu.rstrip("!+").lower().replace("-", "_"))
            amounts[f"gpu_hour_cost_{name}"] = Decimal(task.gpu_count)
        rates = self.world.settings.rates
        return {key: amount * hours * Decimal(rates.get(key, "0")) for key, amount in amounts.items()}

    def _item(self, app_id: str, hour: datetime, by_resource: dict[str, Decimal]) -> BillingItem:
        app = self.world.apps[app_id]
        return BillingItem(
            app_id, app.description, hour, sum(by_resource.values(), Decimal(0)), by_resource, dict(app.tags)
        )


def _report_item(
    item: BillingItem, begins: datetime, tag_names: list[str], environment: str
) -> api_pb2.WorkspaceBillingReportItem:
    wanted = {key: value for key, value in item.tags.items() if key in tag_names or "*" in tag_names}
    message = api_pb2.WorkspaceBillingReportItem(
        object_id=item.object_id,
        description=item.description,
        environment_name=environment,
        cost=str(item.cost),
        tags=wanted,
        cost_by_resource={key: str(value) for key, value in item.cost_by_resource.items()},
    )
    message.interval.FromDatetime(begins)
    return message
