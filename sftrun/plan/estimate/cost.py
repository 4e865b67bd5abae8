"""USD of a run: seconds × what is rented, in Decimal from the price to the sum.  Pure.

Modal bills GPU, CPU and memory by the second, CPU and memory at the larger of request and use; a region asked for
multiplies all three.  Volumes cost beyond their free TiB only, so a run's own files are free until then.
"""

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final, NamedTuple

from sftrun.facts.gpus import catalog
from sftrun.facts.values import Gpu, Prices
from sftrun.plan.types import ComputePlan
from sftrun.step.place import CORES, MEMORY_MIB

CENT: Final = Decimal("0.0001")
WIDE: Final = Context(prec=60)  # an absurd run has an absurd price, and no error
_MOST_DIGITS: Final = 50
# what a training process uses where the recipe asks for nothing: a feeding core and the libraries' own memory
USED_CORES_PER_GPU: Final = Decimal("1.25")
USED_GIB: Final = Decimal(8)


class Rates(NamedTuple):
    """USD a second of what the run holds, region included."""

    gpu: Decimal
    cpu: Decimal
    memory: Decimal

    @property
    def total(self) -> Decimal:
        return self.gpu + self.cpu + self.memory


class Bill(NamedTuple):
    """USD for a stretch of time."""

    gpu: Decimal
    cpu: Decimal
    memory: Decimal
    storage: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return self.gpu + self.cpu + self.memory + self.storage


def rates(gpu: Gpu | None, gpu_count: int, compute: ComputePlan, prices: Prices) -> Rates:
    """What a second costs.  Where nothing is rented, this machine has the rate that its owner gives it."""
    if not compute.place.rents:
        own, none = compute.machine_usd_per_second, Decimal(0)
        return Rates(gpu=none, cpu=own, memory=none) if gpu is None else Rates(gpu=own, cpu=none, memory=none)
    times = catalog.region_multiplier(prices, compute.region) * compute.nodes
    cores = max(Decimal(str(compute.cpu or 0)), USED_CORES_PER_GPU * max(gpu_count, 1))
    gib = max(Decimal(compute.memory_mib or 0) / 1024, USED_GIB)
    rented = gpu.usd_per_second * gpu_count if gpu is not None else Decimal(0)
    return Rates(
        gpu=rented * times,
        cpu=cores * prices.cpu_core_usd_per_second * times,
        memory=gib * prices.memory_gib_usd_per_second * times,
    )


def preparing_rates(compute: ComputePlan, prices: Prices) -> Rates:
    """What a second of the container costs that prepares the data, on one machine and without a GPU."""
    times = catalog.region_multiplier(prices, compute.region)
    return Rates(
        gpu=Decimal(0),
        cpu=Decimal(str(CORES)) * prices.cpu_core_usd_per_second * times,
        memory=Decimal(MEMORY_MIB) / 1024 * prices.memory_gib_usd_per_second * times,
    )


def bill(held: Rates, seconds: float) -> Bill:
    """USD for so many seconds, to a hundredth of a cent."""
    length = Decimal(str(round(seconds, 3)))
    return Bill(*(_rounded(rate * length) for rate in (held.gpu, held.cpu, held.memory)))


def together(one: Bill, other: Bill) -> Bill:
    """Both, kind by kind."""
    return Bill(*(mine + yours for mine, yours in zip(one, other, strict=True)))


def storage(prices: Prices, gib: float, months: float) -> Decimal:
    """USD of a Volume of that size."""
    paid = Decimal(str(max(gib - prices.volume_free_gib, 0.0)))
    return _rounded(paid * prices.volume_gib_month_usd * Decimal(str(months)))


def _rounded(amount: Decimal) -> Decimal:
    if amount.adjusted() > _MOST_DIGITS:
        return amount
    return amount.quantize(CENT, rounding=ROUND_HALF_UP, context=WIDE)
