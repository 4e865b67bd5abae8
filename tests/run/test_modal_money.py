"""What a job on Modal is told to count."""

from decimal import Decimal
from typing import Any

import pytest

from sftrun.facts.gpus import catalog
from sftrun.facts.values import DataFacts
from sftrun.plan.build import build
from sftrun.plan.estimate import total
from sftrun.plan.estimate.cost import rates
from sftrun.plan.types import Plan
from sftrun.run.modal import start
from tests.plan.samples import facts, recipe
from tests.plan.shapes import phi3


def plan(train: dict[str, Any], *gpus: str) -> Plan:
    counted = DataFacts(source="counted", format=None, **train)
    known = facts(model=phi3(), catalog=catalog.shipped(), train=counted)
    made = recipe(compute={"executor": "modal", "gpu": gpus}, budget={"max_usd": Decimal(20)})
    return total.priced(build(made, known, folders={}), known)


def price(made: Plan, name: str) -> Decimal:
    known = catalog.shipped()
    return rates(catalog.find(known, name), 1, made.compute, known.prices).total


@pytest.mark.parametrize("train", [{"rows": 1000, "mean_tokens": 100.0}, {"rows": 1000}], ids=["estimated", "unknown"])
def test_of_several_kinds_each_has_its_own_price_and_the_dearest_stands_until_one_came(train: dict[str, Any]) -> None:
    made = plan(train, "L4", "H100", "B200")
    money = start.money(made)
    for device, name in (("NVIDIA L4", "L4"), ("NVIDIA B200", "B200"), ("NVIDIA H100 80GB HBM3", "H100")):
        assert money.rate(device) == price(made, name)
    assert money.rate(None) == money.usd_per_second == price(made, "B200")
    assert money.rate("NVIDIA H200") == price(made, "H100")  # Modal's own upgrade


def test_of_one_kind_there_is_one_price() -> None:
    made = plan({"rows": 1000, "mean_tokens": 100.0}, "H100")
    money = start.money(made)
    assert (money.usd_per_second, money.by_gpu, money.max_usd) == (price(made, "H100"), {}, Decimal(20))
