"""Jobs that older releases wrote, as the present one reads them: `job.json` of a ledger outlives the program.

Version 1 left decisions to the job; version 2 has them in `rows` and `step`.
"""

from collections.abc import Callable
from typing import Any

Told = dict[str, Any]


def upgraded(told: Any) -> Any:
    """A job's parsed JSON as version 2; what is no job of version 1 comes back as it is."""
    if not isinstance(told, dict) or told.get("version") != 1:
        return told
    new: Told = {**told, "version": 2}
    for step in _FROM_1:
        new = step(new)
    return new


_FROM_1: tuple[Callable[[Told], Told], ...] = ()
