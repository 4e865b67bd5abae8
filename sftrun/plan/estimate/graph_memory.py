"""What CUDA graphs of steps hold beside their pool, and how many shapes a run meets.  Pure."""

import math
from typing import Final

from sftrun.facts.values import Gpu
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.estimate.workload import Batch
from sftrun.step import cuda_graphs

# what capturing takes once; each graph keeps gradients of its own besides (measured, docs/estimates.md)
ONCE_BYTES: Final = 0.7e9
# how far from its mean, in standard deviations, a run's sum of row lengths comes on either side
REACH: Final = 3.5
USUAL: Final = 2.0  # within so many deviations lie nineteen of twenty


def held_bytes(setup: Setup, batch: Batch, gpu: Gpu, captured: int | None = None) -> float:
    """They share one pool; but each keeps the gradients that it wrote, its output and its output's gradient.

    `captured`: how many, where that is known.
    """
    each: float = setup.trained_bytes
    each += 2 * batch.tokens * setup.model.hidden_size * setup.activation_bytes
    return ONCE_BYTES + each * (shapes(setup, batch, gpu) if captured is None else captured)


def shapes(setup: Setup, batch: Batch, gpu: Gpu) -> int:
    """Sums of row lengths rounded up (packed: numbers of rows), times longest rows rounded up, that a run meets."""
    return min(_shapes(setup, batch, gpu, REACH), cuda_graphs.LIMIT)


def usual_shapes(setup: Setup, batch: Batch, gpu: Gpu) -> int:
    """Those that nineteen batches in twenty have, however many."""
    return _shapes(setup, batch, gpu, USUAL)


def _shapes(setup: Setup, batch: Batch, gpu: Gpu, reach: float) -> int:
    deviation = math.sqrt(max(batch.squares - batch.real_tokens**2 / batch.rows, 0.0))
    step: float = cuda_graphs.TOKENS
    if batch.layout == "packed":
        step = cuda_graphs.BOUNDS_STEPS[0] * batch.real_tokens / batch.rows
    longest = cuda_graphs.longest_step(setup.trainer.max_length, gpu.compute_capability, setup.model.head_dim)
    return math.ceil(1 + 2 * reach * deviation / step) * math.ceil(setup.trainer.max_length / longest)
