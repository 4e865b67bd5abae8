"""CUDA graphs of steps that a CPU could hold up: whether they can be, what a batch's shape is rounded to, and how many.

The job captures them, and the plan counts their memory.
"""

from typing import Final

from sftrun.contract.jobspec import TrainerSpec
from sftrun.contract.stepplan import StepPlan

TOKENS: Final = 256  # SFTConfig's `pad_to_multiple_of`, where layers are compiled
BOUNDS_STEPS: Final = (16, 1024)  # what bounds and longest rows are rounded up to, so that shapes are few
LIMIT: Final = 32  # shapes captured; further ones run as usual
HOOKED: Final = ("layerwise", "lomo")  # ends of optimisers' names that wait for autograd to lay gradients down
# GPUs and heads of the job's own attention (`row_kernels`), which never asks for the longest row.  A head is a power of
# two or the sum of two (a masked piece came out wrong, by Triton 3.6)
ROW_CAPABILITY: Final = (9, 0)
ROW_HEADS: Final = (16, 32, 48, 64, 80, 96, 128)


def can_capture(step: StepPlan, trainer: TrainerSpec) -> bool:
    """Whether graphs could replay such a step: one GPU, one micro-batch (a second's gradients would be copied)."""
    is_plain = step.compiled and step.fused_lora and step.sharding == "one" and step.checkpointing == "none"
    is_once = trainer.gradient_accumulation_steps == 1 and not trainer.optim.endswith(HOOKED)
    return is_plain and is_once and step.layout != "padded"


def longest_step(max_length: int, capability: tuple[int, ...], head: int) -> int:
    """What the longest row is rounded up to: to one size where the kernel does not ask for it."""
    step = BOUNDS_STEPS[1]
    return max(step, max_length) if capability >= ROW_CAPABILITY and head in ROW_HEADS else step
