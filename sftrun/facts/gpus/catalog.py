"""GPUs and prices: the dated files of this program, the account's own rates, a file of one's own; the later one wins.

Prices are Decimal from the file to the report.  Nothing here asks the network: `sftrun prices --refresh` fetches the
account's rates and hands them to `from_rates`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sftrun.contract import gpu_names
from sftrun.disk import outside
from sftrun.errors import SftrunError
from sftrun.facts.values import Catalog, Gpu, Prices

STALE_DAYS: Final = 30
SHIPPED: Final = Path(__file__).parent / "tables" / "modal-2026-10-06.json"
CARDS: Final = Path(__file__).parent / "tables" / "cards.json"
ACCOUNT_FILE: Final = "rates.json"
CPU_KEY: Final = "cpu_core"
MEMORY_KEY: Final = "memory_gib"
VOLUME_KEY: Final = "volume_gib_month"

# Modal's keys are not documented and follow no rule: each is written out, an unknown one is left alone
RATE_KEYS: Final[Mapping[str, str]] = {
    "gpu_hour_cost_t4": "T4",
    "gpu_hour_cost_l4": "L4",
    "gpu_hour_cost_a10g": "A10",
    "gpu_hour_cost_a10": "A10",
    "gpu_hour_cost_l40s": "L40S",
    "gpu_hour_cost_a100": "A100-40GB",
    "gpu_hour_cost_a100_40gb": "A100-40GB",
    "gpu_hour_cost_a100_80gb": "A100-80GB",
    "gpu_hour_cost_rtx6000": "RTX-PRO-6000",
    "gpu_hour_cost_rtx_pro_6000": "RTX-PRO-6000",
    "gpu_hour_cost_h100": "H100",
    "gpu_hour_cost_h200": "H200",
    "gpu_hour_cost_b200": "B200",
    "gpu_hour_cost_b300": "B300",
    "cpu_hour_cost": CPU_KEY,
    "mem_gib_hour_cost": MEMORY_KEY,
    "volume_gib_month_cost": VOLUME_KEY,
}


def load(account: Path | None = None, own: Path | None = None) -> Catalog:
    """The shipped catalog, with the rates of `account` (if it is there) and then of `own` (which must be) laid over."""
    catalog = shipped()
    if account is not None and account.is_file():
        catalog = overlay(catalog, read_rates(account))
    return catalog if own is None else overlay(catalog, read_rates(own))


@lru_cache
def shipped() -> Catalog:
    """The data files of this program."""
    rented, owned = (json.loads(file.read_text("utf-8"), parse_float=Decimal) for file in (SHIPPED, CARDS))
    return _catalog(rented, owned["cards"])


def find(catalog: Catalog, name: str) -> Gpu | None:
    """The GPU of that name among Modal's; pins (`H100!`), aliases (`A10G`, `B200+`) and case are understood."""
    wanted = name.upper().rstrip("!")
    names = _by_name(catalog.gpus)
    return names.get(wanted) or names.get(wanted.rstrip("+"))


def find_card(catalog: Catalog, name: str) -> Gpu | None:
    """The card of that name among those that Modal doesn't rent: `RTX-4090`, `rtx 4090`, `4090`."""
    words = "-".join(name.upper().replace("_", " ").replace("-", " ").split())
    names = _by_name(catalog.cards)
    return names.get(words) or names.get(f"RTX-{words.removeprefix('RTX')}")


def of_device(catalog: Catalog, device: str) -> Gpu | None:
    """What the driver calls so (`NVIDIA GeForce RTX 4090`, `NVIDIA A100-SXM4-80GB`); a laptop's is a smaller one."""
    names = _by_name((*catalog.gpus, *catalog.cards))
    known = None if "LAPTOP" in device.upper() else gpu_names.named(device, names)
    return names.get(known or "")


def _by_name(gpus: Sequence[Gpu]) -> dict[str, Gpu]:
    return {alias.upper(): gpu for gpu in gpus for alias in (gpu.name, *gpu.aliases)}


def age_days(prices: Prices, today: str) -> int:
    """Days from the prices' date to `today` (ISO dates)."""
    return (date.fromisoformat(today) - date.fromisoformat(prices.date)).days


def region_multiplier(prices: Prices, region: str | None) -> Decimal:
    """What asking for a region multiplies GPU, CPU and memory by; 1 without one."""
    if region is None:
        return Decimal(1)
    known = prices.region_multipliers
    return known.get(region, known.get("*", Decimal(1)))


def from_rates(rates: Mapping[str, Decimal], today: str) -> dict[str, Any]:
    """Modal's own `billing.rates()` as the content of a file of rates."""
    hourly = {RATE_KEYS[key]: value for key, value in rates.items() if key in RATE_KEYS}
    special = (CPU_KEY, MEMORY_KEY, VOLUME_KEY)
    found: dict[str, Any] = {"date": today, "source": "the account's own rates, from Modal"}
    found["gpu_usd_per_hour"] = {name: str(value) for name, value in hourly.items() if name not in special}
    names = {
        CPU_KEY: "cpu_core_usd_per_hour",
        MEMORY_KEY: "memory_gib_usd_per_hour",
        VOLUME_KEY: "volume_gib_month_usd",
    }
    return found | {names[key]: str(hourly[key]) for key in special if key in hourly}


def dump(rates: Mapping[str, Any]) -> str:
    """The text of a file of rates."""
    return json.dumps(rates, indent=2) + "\n"


def document(catalog: Catalog, age: int) -> str:
    """All GPUs and prices as one JSON document; USD are strings, so that no digit is lost."""
    return json.dumps({"version": 1, "age_days": age} | catalog.model_dump(mode="json"), indent=2)


def read_rates(path: Path) -> dict[str, Any]:
    """A file of rates, JSON or TOML; raises SftrunError where it can't be read."""
    import tomllib  # few have such a file, all have a catalog

    try:
        text = outside.read_text(path)
        found = (
            tomllib.loads(text, parse_float=Decimal)
            if path.suffix == ".toml"
            else json.loads(text, parse_float=Decimal)
        )
    except OSError as error:
        raise SftrunError(f"can't read the prices in {path}: {error.strerror}", help=_EXAMPLE) from error
    except RecursionError as error:
        raise SftrunError(f"{path} nests too deep", help=_EXAMPLE) from error
    except ValueError as error:
        raise SftrunError(f"{path} is neither JSON nor TOML: {error}", help=_EXAMPLE) from error
    if not isinstance(found, dict):
        raise SftrunError(f"{path} holds no table of prices", help=_EXAMPLE)
    return found


def overlay(catalog: Catalog, rates: Mapping[str, Any]) -> Catalog:
    """The catalog with the rates of a file; what the file doesn't name stays, and the source says of when that is.

    Raises SftrunError on a bad value.
    """
    _known(rates)
    per_hour = {}
    by_gpu = rates.get("gpu_usd_per_hour", {})
    if not isinstance(by_gpu, Mapping):
        raise SftrunError(f"`gpu_usd_per_hour` is `{by_gpu}`, no table of GPUs", help=_EXAMPLE)
    for name, value in by_gpu.items():
        gpu = find(catalog, name) or find_card(catalog, name)
        if gpu is None:
            raise SftrunError(f"no GPU `{name}`, in `gpu_usd_per_hour`", help=f"use one of {_names(catalog)}")
        per_hour[gpu.name] = _decimal(name, value) / 3600
    gpus, cards = (
        tuple(g.model_copy(update={"usd_per_second": per_hour.get(g.name, g.usd_per_second)}) for g in known)
        for known in (catalog.gpus, catalog.cards)
    )
    older = [gpu.name for gpu in catalog.gpus if gpu.name not in per_hour]
    older += [name for key, name in _BESIDE_GPUS.items() if key not in rates]
    return Catalog(gpus=gpus, cards=cards, prices=_prices_over(catalog.prices, rates, older))


_EXAMPLE: Final = 'write for example {"date": "2026-11-01", "gpu_usd_per_hour": {"H100": "3.20"}}'
_BESIDE_GPUS: Final = {"cpu_core_usd_per_hour": "cores", "memory_gib_usd_per_hour": "memory"}
_FEW: Final = 3
_KEYS: Final = (
    "date",
    "source",
    "gpu_usd_per_hour",
    "cpu_core_usd_per_hour",
    "memory_gib_usd_per_hour",
    "volume_gib_month_usd",
)


def _known(rates: Mapping[str, Any]) -> None:
    for key in rates:
        if key not in _KEYS:
            raise SftrunError(f"unknown key `{key}` in the file of prices", help=f"use {', '.join(_KEYS)}")
    if "date" not in rates:
        raise SftrunError("the file of prices has no `date`", help=_EXAMPLE)
    try:
        date.fromisoformat(str(rates["date"]))
    except ValueError as error:
        raise SftrunError(f"`date` is `{rates['date']}`, no date", help=_EXAMPLE) from error


def _prices_over(prices: Prices, rates: Mapping[str, Any], older: Sequence[str]) -> Prices:
    kept = ", ".join(older) if len(older) <= _FEW else "the rest"
    source = str(rates.get("source", "a file of one's own")) + (f"; {kept} of {prices.date}" if older else "")
    changed: dict[str, Any] = {"date": str(rates["date"]), "source": source}
    for key, field in (
        ("cpu_core_usd_per_hour", "cpu_core_usd_per_second"),
        ("memory_gib_usd_per_hour", "memory_gib_usd_per_second"),
    ):
        if key in rates:
            changed[field] = _decimal(key, rates[key]) / 3600
    if "volume_gib_month_usd" in rates:
        changed["volume_gib_month_usd"] = _decimal("volume_gib_month_usd", rates["volume_gib_month_usd"])
    return prices.model_copy(update=changed)


def _decimal(name: str, value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise SftrunError(f"`{name}` is `{value}`, no price", help=_EXAMPLE) from error
    if not number.is_finite() or number < 0:
        raise SftrunError(f"`{name}` is `{value}`, no price", help=_EXAMPLE)
    return number


def _names(catalog: Catalog) -> str:
    return ", ".join(gpu.name for gpu in (*catalog.gpus, *catalog.cards))


def _catalog(raw: dict[str, Any], cards: list[dict[str, Any]]) -> Catalog:
    prices = Prices(
        date=raw["date"],
        source=raw["source"],
        cpu_core_usd_per_second=Decimal(raw["cpu_core_usd_per_second"]),
        memory_gib_usd_per_second=Decimal(raw["memory_gib_usd_per_second"]),
        volume_gib_month_usd=Decimal(raw["volume_gib_month_usd"]),
        volume_free_gib=float(raw["volume_free_gib"]),
        region_multipliers={name: Decimal(value) for name, value in raw["region_multipliers"].items()},
    )
    gpus, owned = (tuple(_gpu(entry) for entry in entries) for entries in (raw["gpus"], cards))
    return Catalog(gpus=gpus, cards=owned, prices=prices)


def _gpu(entry: dict[str, Any]) -> Gpu:
    major, minor = entry["compute_capability"]
    return Gpu(
        name=entry["name"],
        aliases=tuple(entry.get("aliases", ())),
        memory_gb=float(entry["memory_gb"]),
        bf16_tflops=float(entry["bf16_tflops"]),
        memory_gb_per_second=float(entry["memory_gb_per_second"]),
        compute_capability=(major, minor),
        max_per_container=entry.get("max_per_container", 8),
        has_bf16=entry.get("has_bf16", True),
        usd_per_second=Decimal(entry.get("usd_per_second", 0)),
    )
