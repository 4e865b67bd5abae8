"""How a step is computed, as ordered (`JobSpec.step`): what is done instead where that can't be, and what is done.

Every difference is an event, so that nothing is decided here without a word.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sftrun.contract import events
from sftrun.contract.stepplan import StepPlan
from sftrun.job.channel import Channel


class Here(NamedTuple):
    """What the job has: a GPU, torch's variable-length attention on it, processes."""

    has_gpu: bool
    has_varlen_kernel: bool
    processes: int


class Refusal(NamedTuple):
    """An order, by its field's name, what is done instead, and why."""

    order: str
    done: object
    reason: str


class Orders:
    """The orders as they are carried out.  `step` changes with each that is refused, which is said at once."""

    def __init__(self, step: StepPlan, channel: Channel) -> None:
        self.step, self.channel = step, channel

    def refuse(self, order: str, done: object, reason: str) -> None:
        """Say that the order is not obeyed, and go on with what is done instead; once for each."""
        wanted = getattr(self.step, order)
        if wanted == done:
            return
        self.step = self.step.model_copy(update={order: done})
        self.channel.say(events.Disobeyed(order=order, wanted=str(wanted), done=str(done), reason=reason))

    def fit(self, here: Here) -> StepPlan:
        """The orders as this machine can carry them out."""
        for refusal in on_machine(self.step, here):
            self.refuse(*refusal)
        return self.step

    def report(self, seen: StepPlan) -> None:
        """What is done in the end; no difference to the orders goes without a word."""
        for name in StepPlan.model_fields:
            self.refuse(name, getattr(seen, name), "the trainer that stands does so")
        self.channel.say(events.StepsReady(step=seen))


def on_machine(step: StepPlan, here: Here) -> Iterator[Refusal]:
    """Orders that a machine does not allow, whatever the model."""
    if step.has_varlen_kernel and not here.has_varlen_kernel:
        yield Refusal("has_varlen_kernel", False, "this GPU, or this torch, has no variable-length attention")
        if step.cuda_graphs:
            yield Refusal("cuda_graphs", False, "they need variable-length attention's kernel")
    if not here.has_gpu and step.cuda_graphs:
        yield Refusal("cuda_graphs", False, "there is no GPU")
    if not here.has_gpu and step.head == "frozen":
        yield Refusal("head", "learnt", "there is no GPU")
    if step.sharding != "one" and here.processes == 1:
        yield Refusal("sharding", "one", "there is one process alone")
