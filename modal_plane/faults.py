"""Faults at the border: an RPC that answers with an error, a storage request that answers 5xx.

A fault with `after=True` lets the call take effect and then loses the reply, which is what retries and
idempotency keys are for.
"""

import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from grpclib import Status

Side = Literal["client", "container", "any"]


@dataclass
class Fault:
    """`rpc` may be a pattern (`Volume*`); `times=None` is without end; `seconds` counts from when it was made.

    The first `passed` calls are answered.
    """

    rpc: str
    status: Status = Status.UNAVAILABLE
    message: str = "injected fault"
    times: int | None = 1
    after: bool = False
    seconds: float | None = None
    side: Side = "any"
    passed: int = 0
    made_at: float = field(default_factory=time.monotonic)
    hits: int = 0

    def take(self, rpc: str, side: Side, *, after: bool) -> bool:
        """Whether this call is hit; counts when it is."""
        if after != self.after or self.side not in ("any", side) or not fnmatchcase(rpc, self.rpc) or self._is_over():
            return False
        if self.passed:
            self.passed -= 1
            return False
        self.hits += 1
        return True

    def _is_over(self) -> bool:
        spent = self.times is not None and self.hits >= self.times
        late = self.seconds is not None and time.monotonic() > self.made_at + self.seconds
        return spent or late


@dataclass
class HttpFault:
    """Storage that fails: `kind` is `block` (Volume upload), `file` (Volume read) or `blob` (large arguments).

    The first `passed` requests are served.
    """

    kind: str
    status: int = 500
    times: int | None = 1
    method: str = "*"
    passed: int = 0
    hits: int = 0

    def take(self, kind: str, method: str) -> bool:
        if self.kind != kind or not fnmatchcase(method, self.method):
            return False
        if self.passed:
            self.passed -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True
