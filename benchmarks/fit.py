"""Fit the time model's constants to measured cells: multiplicative pattern search on the mean log error.

All stacks are fitted together, as some constants are the GPU's, or a kernel's that several stacks call.  They start
from the last calibration and are pulled weakly towards it, so that one which the cells say nothing about stays.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import NamedTuple

from cells import Cell, gpu_of

from sftrun.facts.gpus.calibration import Calibration, StackConstants
from sftrun.facts.values import Gpu
from sftrun.plan.estimate import memory, roofline, stage_times
from sftrun.plan.estimate.learning import Correction
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.estimate.workload import Batch

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
    "kernel_share",
    "wave_outputs",
    "head_traffic",
    "attention_keys",
)
# what a stack without compiled layers has nothing of
COMPILED_ALONE = ("recompute_share", "kernel_share")
# measured rows are too short to tell what attention computes from what it moves: FlashAttention 2's paper has the first
VARLEN = ("compiled", "fused")
# one value for all of these stacks: they call the same kernels
SHARED = {
    "matmul_efficiency": ("compiled", "fused", "eager"),
    "wave_outputs": ("compiled", "fused", "eager"),
    "head_traffic": ("compiled", "fused", "eager"),
    "attention_keys": VARLEN,
    "dequantize_traffic": VARLEN,
    "layer_traffic": ("fused", "eager"),
}
LIMITS = {"matmul_efficiency": (0.3, 0.80), "attention_efficiency": (0.02, 0.7), "host_recompute": (1.0, 3.0)}
LIMITS |= {"host_seconds_per_step": (0.0, 0.04), "dequantize_traffic": (0.5, 3.0), "layer_traffic": (0.5, 30.0)}
LIMITS |= {"recompute_share": (0.3, 1.0), "kernel_share": (0.05, 0.6), "wave_outputs": (1e4, 1e7)}
LIMITS |= {"head_traffic": (0.5, 8.0), "attention_keys": (100.0, 2000.0)}
PULL = 1e-3
# errors beyond this count by their size and no more by its square: what else a machine did only adds time
NEAR = 0.03


class Constant(NamedTuple):
    """One number to be found, and the stacks that it holds for."""

    name: str
    stacks: tuple[str, ...]


Values = dict[Constant, float]


def fit(cells: Sequence[Cell], start: Calibration) -> Calibration:
    """The constants of every stack that the cells know; the others stay."""
    present = tuple(sorted({cell.stack for cell in cells}))
    anchor = {constant: _first(constant, start) for constant in _constants(present)}

    def loss(values: Values) -> float:
        return _loss(cells, _with(start, values), values, anchor)

    found = _with(start, _search(dict(anchor), loss))
    return found.model_copy(update={"stacks": {**found.stacks, **{s: _judged(s, cells, found) for s in present}}})


def _constants(stacks: Sequence[str]) -> list[Constant]:
    found = dict.fromkeys(
        Constant(name, tuple(s for s in SHARED.get(name, (stack,)) if s in stacks) or (stack,))
        if stack in SHARED.get(name, ())
        else Constant(name, (stack,))
        for stack in stacks
        for name in FREE
        if _is_free(name, stack)
    )
    return list(found)


def _is_free(name: str, stack: str) -> bool:
    if name in COMPILED_ALONE:
        return stack == "compiled"
    return {"attention_efficiency": stack not in VARLEN, "attention_keys": stack in VARLEN}.get(name, True)


def _first(constant: Constant, start: Calibration) -> float:
    low, high = LIMITS.get(constant.name, (0.0, math.inf))
    return min(max(getattr(start.stacks[constant.stacks[0]], constant.name), low), high)


def _judged(stack: str, cells: Sequence[Cell], found: Calibration) -> StackConstants:
    own = [cell for cell in cells if cell.stack == stack]
    errors = [abs(error) for error in time_errors(own, found)]
    # what waits for launches has a wider range of its own
    bounded = [error for error, cell in zip(errors, own, strict=True) if not is_launch_bound(cell, found)]
    # later cells of a group find its layers compiled
    first = [next(group).first_seconds for _, group in groupby(own, attrgetter("group"))]
    compiling = [took for took in first if took] or [found.stacks[stack].compile_seconds]
    return found.stacks[stack].model_copy(
        update={
            "cells": len(own),
            "median_error": round(median(errors), 4),
            "worst_error": round(max(bounded or errors), 4),
            "compile_seconds": round(median(compiling), 1),
        }
    )


def seconds(cell: Cell, calibration: Calibration) -> float:
    setup, batch, gpu = _inputs(cell)
    return roofline.step(setup, batch, cell.accumulation, gpu, calibration).seconds


def is_launch_bound(cell: Cell, calibration: Calibration) -> bool:
    setup, batch, gpu = _inputs(cell)
    return roofline.step(setup, batch, cell.accumulation, gpu, calibration).is_launch_bound


def is_within(cell: Cell, calibration: Calibration) -> bool:
    """Whether the measured step lies in the range that a plan would show."""
    setup, batch, gpu = _inputs(cell)
    found = roofline.step(setup, batch, cell.accumulation, gpu, calibration)
    pace = stage_times.pace(found, gpu, setup, calibration, Correction())
    return pace.low <= cell.seconds <= pace.high


@lru_cache
def _inputs(cell: Cell) -> tuple[Setup, Batch, Gpu]:
    return cell.setup(), cell.measured_batch(), gpu_of(cell.gpu)


def time_errors(cells: Sequence[Cell], calibration: Calibration) -> list[float]:
    return [seconds(cell, calibration) / cell.seconds - 1 for cell in cells]


def memory_errors(cells: Sequence[Cell]) -> list[float]:
    """Of the cells whose memory was measured."""
    return [allocated_gb(cell) / cell.allocated_gb - 1 for cell in cells if cell.allocated_gb]


def allocated_gb(cell: Cell) -> float:
    """As estimated, with as many graphs as were captured."""
    setup, batch, gpu = _inputs(cell)
    return memory.allocated_gb(memory.estimate(setup, batch, gpu, captured=cell.captured or None))


def _with(start: Calibration, values: Mapping[Constant, float]) -> Calibration:
    changed: dict[str, dict[str, float]] = {}
    for constant, value in values.items():
        for stack in constant.stacks:
            changed.setdefault(stack, {})[constant.name] = value
    stacks = {stack: start.stacks[stack].model_copy(update=update) for stack, update in changed.items()}
    return start.model_copy(update={"stacks": {**start.stacks, **stacks}})


def _loss(cells: Sequence[Cell], candidate: Calibration, values: Values, anchor: Values) -> float:
    for constant, value in values.items():
        low, high = LIMITS.get(constant.name, (0.0, math.inf))
        if not low <= value <= high:
            return math.inf
    errors = sum(_weight(math.log(seconds(cell, candidate) / cell.seconds)) for cell in cells)
    pull = sum(math.log((values[each] + 1e-9) / (anchor[each] + 1e-9)) ** 2 for each in values)
    return errors / len(cells) + PULL * pull


def _weight(error: float) -> float:
    return 2 * NEAR * (math.hypot(error, NEAR) - NEAR)


def _search(values: Values, loss: Callable[[Values], float]) -> Values:
    best, step = loss(values), 0.5
    while step > 0.002:
        improved = False
        for constant in values:
            for factor in (1 + step, 1 / (1 + step)):
                candidate = {**values, constant: values[constant] * factor}
                found = loss(candidate)
                if found < best * (1 - 1e-6):
                    values, best, improved = candidate, found, True
        step = step if improved else step / 2
    return {constant: float(f"{value:.4g}") for constant, value in values.items()}
