"""CUDA graphs of small steps: what a batch's shape is rounded to, and how many shapes are recorded.

The job records them, and the plan counts their memory.
"""

from typing import Final

TOKENS: Final = 256  # SFTConfig's `pad_to_multiple_of`, where layers are compiled
BOUNDS_STEPS: Final = (16, 1024)  # what bounds and longest rows are rounded up to, so that shapes are few
LIMIT: Final = 32  # shapes recorded; further ones run as usual
