"""Prices: the shipped ones, the account's own, a file of one's own."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from sftrun.errors import SftrunError
from sftrun.facts.gpus import catalog

PER_HOUR = {
    "T4": "0.590",
    "L4": "0.799",
    "A10": "1.102",
    "L40S": "1.951",
    "A100-40GB": "2.099",
    "A100-80GB": "2.498",
    "RTX-PRO-6000": "3.031",
    "H100": "3.949",
    "H200": "4.540",
    "B200": "6.250",
    "B300": "7.099",
}

# MiB that nvidia-smi shows of each on Modal: what a driver gives to jobs is a little less
SHOWN_MIB = {
    "T4": 15360,
    "L4": 23034,
    "A10": 23028,
    "L40S": 46068,
    "A100-40GB": 40960,
    "A100-80GB": 81920,
    "H100": 81559,
}


def usd_per_hour(found: catalog.Catalog, name: str) -> Decimal:
    gpu = catalog.find(found, name)
    assert gpu is not None
    return gpu.usd_per_second * 3600


@pytest.mark.parametrize(("name", "usd"), PER_HOUR.items())
def test_the_shipped_prices_are_modal_s(name: str, usd: str) -> None:
    assert round(usd_per_hour(catalog.shipped(), name), 3) == pytest.approx(Decimal(usd), abs=Decimal("0.001"))


@pytest.mark.parametrize(("name", "mib"), SHOWN_MIB.items())
def test_memory_is_in_1e9_bytes_as_estimates_are_and_less_than_the_board_s(name: str, mib: int) -> None:
    gpu = catalog.find(catalog.shipped(), name)
    assert gpu is not None
    assert 0.96 < gpu.memory_gb / (mib * 2**20 / 1e9) < 1


@pytest.mark.parametrize(
    ("said", "name"),
    [("A10G", "A10"), ("h100!", "H100"), ("B200+", "B300"), ("B200", "B200"), ("A100", "A100-40GB"), ("H1000", None)],
)
def test_a_gpu_is_found_by_its_aliases_and_pins(said: str, name: str | None) -> None:
    found = catalog.find(catalog.shipped(), said)
    assert (found.name if found else None) == name


def test_only_the_t4_has_no_bf16_and_only_the_a10_stops_at_four() -> None:
    gpus = catalog.shipped().gpus
    assert [gpu.name for gpu in gpus if not gpu.has_bf16] == ["T4"]
    assert [gpu.name for gpu in gpus if gpu.max_per_container == 4] == ["A10"]


def test_a_file_of_one_s_own_wins_over_the_account_s_rates(tmp_path: Path) -> None:
    account, own = tmp_path / "rates.json", tmp_path / "own.toml"
    account.write_text('{"date": "2026-11-01", "gpu_usd_per_hour": {"H100": "3.60", "L4": 0.7}}')
    own.write_text('date = "2026-11-20"\ncpu_core_usd_per_hour = 0.036\n[gpu_usd_per_hour]\nH100 = 3.20\n')
    found = catalog.load(account, own)
    assert usd_per_hour(found, "H100") == pytest.approx(Decimal("3.20"))
    assert usd_per_hour(found, "L4") == pytest.approx(Decimal("0.7"))
    assert found.prices.source == "a file of one's own; the rest of 2026-11-01"
    assert found.prices.cpu_core_usd_per_second == Decimal("0.00001")
    assert found.prices.date == "2026-11-20"


def test_modal_s_own_keys_are_mapped_and_unknown_ones_left_alone() -> None:
    rates = {
        "gpu_hour_cost_a10g": Decimal("1.1"),
        "gpu_hour_cost_rtx6000": Decimal(3),
        "cpu_hour_cost": Decimal("0.05"),
    }
    found = catalog.from_rates(rates | {"something_else": Decimal(9)}, "2026-11-22")
    assert found["gpu_usd_per_hour"] == {"A10": "1.1", "RTX-PRO-6000": "3"}
    assert found["cpu_core_usd_per_hour"] == "0.05"
    laid = catalog.overlay(catalog.shipped(), json.loads(catalog.dump(found)))
    assert usd_per_hour(laid, "A10") == pytest.approx(Decimal("1.1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "the file of prices has no `date`"),
        ('{"date": "soon"}', "`date` is `soon`, no date"),
        ('{"date": "2026-11-01", "gpu": {}}', "unknown key `gpu` in the file of prices"),
        ('{"date": "2026-11-01", "gpu_usd_per_hour": {"H1000": 1}}', "no GPU `H1000`, in `gpu_usd_per_hour`"),
        ('{"date": "2026-11-01", "gpu_usd_per_hour": {"H100": "cheap"}}', "`H100` is `cheap`, no price"),
        ('{"date": "2026-11-01", "gpu_usd_per_hour": {"H100": -1}}', "`H100` is `-1`, no price"),
        ('{"date": "2026-11-01", "gpu_usd_per_hour": 3}', "`gpu_usd_per_hour` is `3`, no table of GPUs"),
    ],
)
def test_a_bad_file_of_prices_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.json"
    file.write_text(text)
    with pytest.raises(SftrunError) as raised:
        catalog.load(None, file)
    assert raised.value.message == message
    assert raised.value.help


def test_a_missing_file_of_prices_is_named(tmp_path: Path) -> None:
    with pytest.raises(SftrunError, match="can't read the prices in"):
        catalog.load(None, tmp_path / "none.json")


def test_the_age_of_prices_is_in_days() -> None:
    assert catalog.age_days(catalog.shipped().prices, "2026-11-22") == 47


def test_a_broad_region_costs_half_more_and_a_narrow_one_three_quarters() -> None:
    prices = catalog.shipped().prices
    multipliers = [catalog.region_multiplier(prices, region) for region in (None, "us", "eu-west")]
    assert multipliers == [Decimal(1), Decimal("1.5"), Decimal("1.75")]


def test_the_source_names_the_few_prices_that_are_older() -> None:
    named = {gpu.name: "1.00" for gpu in catalog.shipped().gpus if gpu.name != "B300"}
    rates = {"date": "2026-11-20", "source": "us", "gpu_usd_per_hour": named, "cpu_core_usd_per_hour": "0.04"}
    assert catalog.overlay(catalog.shipped(), rates).prices.source == "us; B300, memory of 2026-10-06"
    whole = rates | {"gpu_usd_per_hour": named | {"B300": "1.00"}, "memory_gib_usd_per_hour": "0.01"}
    assert catalog.overlay(catalog.shipped(), whole).prices.source == "us"
