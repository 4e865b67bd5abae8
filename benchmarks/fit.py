"""Fit the time model's constants to measured cells: multiplicative pattern search on the mean squared log error.

Each stack is fitted by itself.  Constants start from the last calibration and are pulled weakly towards it, so that one
which the cells say nothing about stays.
"""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from cells import Cell, gpu_of

from sftrun.facts.calibration import Calibration, StackConstants
from sftrun.plan import memory, roofline

FREE = (
    "matmul_efficiency",
    "attention_efficiency",
    "layer_traffic",
    "adapter_traffic",
    "dequantize_traffic",
    "host_seconds_per_layer",
    "host_seconds_quantized",
    "host_seconds_per_step",
    "host_recompute",
    "recompute_share",
    "graph_seconds_per_layer",
)
# what a stack without compiled layers has nothing of
COMPILED_ALONE = ("recompute_share", "graph_seconds_per_layer")
LIMITS = {"matmul_efficiency": (0.3, 0.80), "attention_efficiency": (0.02, 0.7), "host_recompute": (1.0, 3.0)}
LIMITS |= {"host_seconds_per_step": (0.0, 0.04), "dequantize_traffic": (0.5, 3.0), "layer_traffic": (0.5, 30.0)}
LIMITS |= {"recompute_share": (0.3, 1.0), "graph_seconds_per_layer": (1e-5, 0.001)}
PULL = 3e-4


def fit(stack: str, cells: Sequence[Cell], start: Calibration) -> StackConstants:
    """The constants of one stack."""
    first = start.stacks[stack]
    names = [name for name in FREE if stack == "compiled" or name not in COMPILED_ALONE]
    values = {name: _within(name, getattr(first, name)) for name in names}
    anchor = dict(values)

    def loss(candidate: dict[str, float]) -> float:
        return _loss(cells, start, stack, candidate, anchor)

    values = _search(values, loss)
    fitted = first.model_copy(update=values)
    errors = [abs(error) for error in time_errors(cells, _with(start, stack, fitted))]
    compiling = [cell.first_seconds for cell in cells if cell.first_seconds]
    return fitted.model_copy(
        update={
            "cells": len(cells),
            "median_error": round(median(errors), 4),
            "worst_error": round(max(errors), 4),
            "compile_seconds": round(median(compiling), 1) if compiling else first.compile_seconds,
        }
    )


def _within(name: str, value: float) -> float:
    low, high = LIMITS.get(name, (0.0, math.inf))
    return min(max(value, low), high)


def seconds(cell: Cell, calibration: Calibration) -> float:
    gpu = gpu_of(cell.gpu)
    return roofline.step(cell.setup(), cell.measured_batch(), cell.accumulation, gpu, calibration).seconds


def time_errors(cells: Sequence[Cell], calibration: Calibration) -> list[float]:
    return [seconds(cell, calibration) / cell.seconds - 1 for cell in cells]


def memory_errors(cells: Sequence[Cell]) -> list[float]:
    """Of the cells whose memory was measured."""
    cells = [cell for cell in cells if cell.allocated_gb]
    found = (memory.allocated_gb(memory.estimate(c.setup(), c.measured_batch(), gpu_of(c.gpu))) for c in cells)
    return [gb / cell.allocated_gb - 1 for gb, cell in zip(found, cells, strict=True)]


def _with(start: Calibration, stack: str, constants: StackConstants) -> Calibration:
    return start.model_copy(update={"stacks": {**start.stacks, stack: constants}})


def _loss(
    cells: Sequence[Cell], start: Calibration, stack: str, values: dict[str, float], anchor: dict[str, float]
) -> float:
    if any(not low <= values[name] <= high for name, (low, high) in LIMITS.items() if name in values):
        return math.inf
    calibration = _with(start, stack, start.stacks[stack].model_copy(update=values))
    errors = sum(math.log(seconds(cell, calibration) / cell.seconds) ** 2 for cell in cells)
    pull = sum(math.log((values[name] + 1e-9) / (anchor[name] + 1e-9)) ** 2 for name in values)
    return errors / len(cells) + PULL * pull


def _search(values: dict[str, float], loss: Callable[[dict[str, float]], float]) -> dict[str, float]:
    best, step = loss(values), 0.5
    while step > 0.002:
        improved = False
        for name in values:
            for factor in (1 + step, 1 / (1 + step)):
                candidate: dict[str, Any] = {**values, name: values[name] * factor}
                found = loss(candidate)
                if found < best * (1 - 1e-6):
                    values, best, improved = candidate, found, True
        step = step if improved else step / 2
    return {name: float(f"{value:.4g}") for name, value in values.items()}
