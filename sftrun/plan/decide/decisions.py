"""What a decision is made of: the device that is there, what memory has room for, and the reasons as they collect."""

from typing import NamedTuple

from sftrun.plan.types import Decision
from sftrun.step.given import Machine


class Decisions:
    """The reasons, collected while the values are made."""

    def __init__(self) -> None:
        self.made: list[Decision] = []

    def say(self, at: str, value: object, reason: str) -> None:
        self.made.append(Decision(at=at, value=_words(value), reason=reason))


class Chosen(NamedTuple):
    """A value and its reason."""

    value: bool
    reason: str


class Room(NamedTuple):
    """What memory allows: it takes a plan to know that, so the first plan is made without.  None: not to be decided."""

    checkpointing: Chosen | None = None
    dequantized: Chosen | None = None
    at_once: Chosen | None = None
    cuda_graphs: Chosen | None = None
    fsdp: Chosen | None = None


class Device(NamedTuple):
    """What the job will find: a GPU of the catalog (or this machine's), or none.

    `without_bf16`: the one that has no bfloat16, of all that the job may get.
    """

    name: str | None
    gpus: int
    without_bf16: str | None = None

    @property
    def is_gpu(self) -> bool:
        return self.gpus > 0

    def machine(self, nodes: int) -> Machine:
        """So many of it, as `step` asks for it."""
        return Machine(max(self.gpus, 1) * nodes, self.is_gpu, self.without_bf16 is None)


def _words(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
