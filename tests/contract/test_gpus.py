"""What a job counts depends on the GPU that it got."""

from decimal import Decimal

import pytest

from sftrun.contract import gpu_names
from sftrun.contract.jobspec import MoneySpec

NAMES = ("L4", "L40S", "A100-40GB", "A100-80GB", "H100", "RTX-PRO-6000")


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("NVIDIA H200", None),
        ("cpu", None),
    ],
)
def test_a_gpu_is_known_by_what_its_driver_calls_it(device: str, name: str | None) -> None:
    assert gpu_names.named(device, NAMES) == name


def test_a_second_costs_the_dearest_s_price_until_it_is_known_which_one_came() -> None:
    rates = {"L4": Decimal("0.0003"), "B200": Decimal("0.002")}
    money = MoneySpec(usd_per_second=Decimal("0.002"), by_gpu=rates)
    assert [money.rate(device) for device in (None, "NVIDIA L4", "NVIDIA B200", "NVIDIA H200")] == [
        Decimal("0.002"), Decimal("0.0003"), Decimal("0.002"), Decimal("0.002"),
    ]  # fmt: skip
    assert MoneySpec(usd_per_second=Decimal(1)).rate("NVIDIA L4") == 1
