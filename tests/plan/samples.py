"""Small recipes and facts for the plan's tests."""

from decimal import Decimal
from typing import Any

from sftrun.facts.values import Catalog, DataFacts, Facts, Gpu, Machine, Prices
from sftrun.recipe.models import Recipe
from sftrun.rows.raw.find import Files

H200 = Gpu(
    name="H200",
    memory_gb=141,
    bf16_tflops=989,
    memory_gb_per_second=4800,
    compute_capability=(9, 0),
    usd_per_second=Decimal("0.001261"),
)
T4 = Gpu(
    name="T4",
    memory_gb=16,
    bf16_tflops=65,
    memory_gb_per_second=320,
    compute_capability=(7, 5),
    has_bf16=False,
    usd_per_second=Decimal("0.000164"),
)
PRICES = Prices(
    date="2026-10-06",
    source="a test",
    cpu_core_usd_per_second=Decimal("0.0000131"),
    memory_gib_usd_per_second=Decimal("0.00000222"),
    volume_gib_month_usd=Decimal("0.09"),
    volume_free_gib=1024,
    region_multipliers={},
)


def recipe(**sections: Any) -> Recipe:
    """A valid recipe; a section given replaces the default one."""
    base: dict[str, Any] = {
        "version": 1,
        "name": "sample",
        "model": {"name_or_path": "builtin:tiny"},
        "lora": {},
        "dataset": {"train": {"path": "train.jsonl"}},
        "compute": {"executor": "modal", "gpu": "H200"},
        "volumes": {"/out": "outputs"},
        "output": {"dir": "/out/sample"},
    }
    return Recipe.model_validate(base | sections)


def facts(**values: Any) -> Facts:
    """Facts with two GPUs, 1,000 rows of 100 tokens, and a machine without a GPU."""
    base: dict[str, Any] = {
        "catalog": Catalog(gpus=(H200, T4), prices=PRICES),
        "today": "2026-11-01",
        "machine": Machine(cpu_cores=2),
        "lock": {"trl": "1.15.0"},
        "train_files": Files(paths=("/r/train.jsonl",), sha256="aa"),
        "train": DataFacts(source="counted", format="instruction", rows=1000, tokens=100_000, mean_tokens=100),
    }
    return Facts(**(base | values))
