"""CUDA graphs of steps that a CPU could hold up: what a batch's shape is rounded to, and how many shapes are recorded.

The job records them, and the plan counts their memory.
"""

from typing import Final

TOKENS: Final = 256  # SFTConfig's `pad_to_multiple_of`, where layers are compiled
BOUNDS_STEPS: Final = (16, 1024)  # what bounds and longest rows are rounded up to, so that shapes are few
LIMIT: Final = 32  # shapes recorded; further ones run as usual
# GPUs and heads of the job's own attention (`row_kernels`), which never asks for the longest row.  A head is a power of
# two or the sum of two (a masked piece came out wrong, by Triton 3.6)
ROW_CAPABILITY: Final = (9, 0)
ROW_HEADS: Final = (16, 32, 48, 64, 80, 96, 128)


def longest_step(max_length: int, capability: tuple[int, ...], head: int) -> int:
    """What the longest row is rounded up to: to one size where the kernel does not ask for it."""
    step = BOUNDS_STEPS[1]
    return max(step, max_length) if capability >= ROW_CAPABILITY and head in ROW_HEADS else step
