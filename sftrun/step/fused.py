"""LoRA's products ride in the frozen ones': which projections share one product, and how wide it is.

The job computes them so, and the plan counts their work.
"""

from typing import Final

SIBLINGS: Final = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
COLUMN_STEP: Final = 64  # columns are filled up to a multiple: 128 bytes, a row's start is aligned


def columns(inputs: int, rank: int) -> int:
    """Of a product over that many inputs, with `rank` columns of adapters beside them."""
    return -(-(inputs + rank) // COLUMN_STEP) * COLUMN_STEP
