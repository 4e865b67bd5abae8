"""What was measured on a GPU: the constants of the time model, and paces that recipes' own runs have shown.

Both are dated data files; `benchmarks/calibrate.py` makes the first again.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Final

from sftrun.strict import Strict

CALIBRATION: Final = "calibration.json"
REPORTED: Final = "reported-paces.json"


class StackConstants(Strict):
    """How well one way of running a step uses the GPU.

    Efficiencies are shares of the data sheet's rates; traffic counts how often the bytes in question are moved; host
    seconds are what the CPU needs to launch a layer's forward and backward pass; kernels take a share of that at least,
    however little they compute.  Wave outputs are what a product computes at once: its last wave is half empty on
    average.  Attention's keys are what a query costs beside those of its row.  The recompute share is what
    checkpointing repeats of a forward pass: a compiler leaves out what the backward pass does not need.
    """

    matmul_efficiency: float
    attention_efficiency: float
    layer_traffic: float
    adapter_traffic: float
    dequantize_traffic: float
    host_seconds_per_layer: float
    host_seconds_quantized: float
    host_seconds_per_step: float
    host_recompute: float
    recompute_share: float = 1.0
    kernel_share: float = 0.0
    wave_outputs: float = 0.0
    head_traffic: float = 0.0
    attention_keys: float = 0.0
    compile_seconds: float
    gpus: tuple[str, ...]
    date: str
    cells: int
    median_error: float
    worst_error: float


class Calibration(Strict):
    """Constants by stack (eager, fused, liger, compiled, unsloth), each fitted to `cells` runs on its `gpus`."""

    source: str
    stacks: dict[str, StackConstants]


class ReportedPace(Strict):
    """Samples a second that a recipe's own run is reported to have had, with all that it depends on."""

    name: str
    date: str
    source: str
    note: str
    gpu: str
    engine: str
    parameters: int
    rows: int
    max_length: int
    packing: bool
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    load_in_4bit: bool
    optim: str
    samples_per_second: float


@lru_cache
def shipped() -> Calibration:
    """The calibration of this program."""
    return Calibration.model_validate_json(_read(CALIBRATION))


@lru_cache
def reported() -> tuple[ReportedPace, ...]:
    """The reported paces of this program."""
    return tuple(ReportedPace.model_validate(entry) for entry in json.loads(_read(REPORTED)))


def _read(name: str) -> str:
    return (Path(__file__).parent / "tables" / name).read_text("utf-8")
