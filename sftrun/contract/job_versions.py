"""Jobs that older releases wrote, as the present one reads them: `job.json` of a ledger outlives the program.

Version 1 left decisions to the job; version 2 has them in `rows` and `step`.
"""

from collections.abc import Callable
from typing import Any

from sftrun.contract.step_versions import with_step

Told = dict[str, Any]


def upgraded(told: Any) -> Any:
    """A job's parsed JSON as version 2; what is no job of version 1 comes back as it is."""
    if not isinstance(told, dict) or told.get("version") != 1:
        return told
    new: Told = {**told, "version": 2}
    for step in _FROM_1:
        new = step(new)
    return new


def _step(told: Told) -> Told:
    gpus, nodes = told.get("gpu_count") or 0, told.get("nodes") or 1
    return with_step(told, gpus * nodes) if isinstance(gpus, int) and isinstance(nodes, int) else told


_FROM_1: tuple[Callable[[Told], Told], ...] = (_step,)
