"""Which models the job's own head is for (`job.fast.head`): the job asks, and the plan counts on it."""

from collections.abc import Callable
from typing import Final

ALIGNED: Final = 8  # 16 bytes of logits
# how configurations name what stands between logits and loss
SCALES: Final = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)


def is_aligned(vocabulary: int) -> bool:
    """Whether rows of logits as wide as the vocabulary begin where products are fast."""
    return vocabulary % ALIGNED == 0


def is_scaled(setting: Callable[[str], object]) -> bool:
    """Whether logits are capped or scaled; `setting` gives the configuration's value by name, or None."""
    return any(setting(name) is not None for name in SCALES)
