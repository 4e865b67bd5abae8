"""What `chaos.py` may do to a run: the plane's faults by name, each with the chance in its options."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from modal_plane import Plane

Harm = Callable[[Plane, random.Random], None]


def _injected(name: str, **ranges: tuple[float, float]) -> Harm:
    def act(plane: Plane, draw: random.Random) -> None:
        options: dict[str, Any] = {
            key: draw.randint(int(low), int(high)) if key == "times" else draw.uniform(low, high)
            for key, (low, high) in ranges.items()
        }
        plane.inject(name, **options)

    return act


def _token_lost(plane: Plane, draw: random.Random) -> None:
    """Revoked, and given back: to the client, its containers have no token."""
    plane.inject("bad_token")
    plane.thread.later(draw.uniform(1, 4), partial(_give_token_back, plane))


async def _give_token_back(plane: Plane) -> None:
    plane.router.token = plane.token


_FEW, _SOME_SECONDS = (1, 8), (0.5, 8.0)
AT_ONCE = (
    "preemption out_of_memory exit_code function_timeout container_silent user_exception unknown_exception "
    "import_error cancelled terminated app_stopped client_gone volume_full"
)
A_FEW_TIMES = (
    "unavailable internal unknown deadline rpc_cancelled conflict aborted data_loss reply_lost quota commit_failure "
    "storage_5xx storage_503 read_5xx blob_failure"
)
HARMS: dict[str, Harm] = {
    **{name: _injected(name) for name in AT_ONCE.split()},
    **{name: _injected(name, times=_FEW) for name in A_FEW_TIMES.split()},
    **{name: _injected(name, seconds=_SOME_SECONDS) for name in ("connection_cut", "go_silent", "outage")},
    "preemption_without_grace": _injected("preemption", grace_seconds=(0.0, 0.0)),
    "bad_token": _token_lost,
}
