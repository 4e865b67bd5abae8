"""Which vocabularies the job's own head is for (`head_kernels`): the job asks, and the plan counts on the answer."""

from typing import Final

ALIGNED: Final = 8  # 16 bytes of logits


def is_aligned(vocabulary: int) -> bool:
    """Whether rows of logits as wide as the vocabulary begin where products are fast."""
    return vocabulary % ALIGNED == 0
