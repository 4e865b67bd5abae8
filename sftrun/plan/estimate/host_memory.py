"""What a run holds in its machine's own memory, beside the GPUs'.  Pure; GiB, as Modal rents it.

A weight on its way to a GPU counts nothing: it is a page of its file, which all processes share and the kernel takes
back.  So is a whole model of the files' own type.  What is saved costs more: safetensors copies a file's weights from
the GPU before it writes one.  Sharded weights (FSDP2) cost most, in the first process: it converts what is
trained to 32 bits before it shares it out, and gathers it, and the optimiser's state, to save them.
"""

import math
from typing import Final, NamedTuple

from sftrun.facts.values import Facts
from sftrun.plan.estimate import memory
from sftrun.plan.estimate.cost import USED_GIB
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.estimate.total import Inputs, inputs
from sftrun.plan.types import Decision, Plan
from sftrun.recipe import known

FILE_BYTES: Final = 50e9  # of one file at most, by transformers
WORTH_ASKING_GIB: Final = 4


class Held(NamedTuple):
    """So much, and the most of it for what."""

    gib: int
    why: str


def held(plan: Plan, facts: Facts) -> Held | None:
    """With what the libraries take; None where it is not known, or nothing stands out."""
    known = inputs(plan, facts)
    if not isinstance(known, Inputs):
        return None
    size, why = max(
        (converted_bytes(known.setup), "the first process converts the weights before it shares them out"),
        (saved_bytes(known.setup), "the process that saves holds what is trained"),
    )
    if size < WORTH_ASKING_GIB * 2**30:
        return None
    return Held(math.ceil(float(USED_GIB) + size / 2**30), why)


def asked(plan: Plan, facts: Facts) -> Plan:
    """The plan with enough memory asked for, where the recipe does not say how much."""
    found = held(plan, facts) if plan.compute.place.rents and plan.compute.memory_mib is None else None
    if found is None:
        return plan
    gib = min(found.gib, known.MOST_GIB)
    said = Decision(at="compute.memory", value=f"{gib}GiB", reason=found.why)
    compute = plan.compute.model_copy(update={"memory_mib": gib * 1024})
    return plan.model_copy(update={"compute": compute, "decisions": (*plan.decisions, said)})


def converted_bytes(setup: Setup) -> float:
    """Of sharded weights that are not to have the type of their files; 4-bit weights are made of them on the GPU."""
    if setup.step.sharding != "fsdp" or setup.bits == 4:
        return 0.0
    is_widened = setup.lora is None and setup.own_bytes == 4
    wanted, size = ("float32", 4) if is_widened else (setup.spec.dtype, setup.weight_bytes)
    return 0.0 if setup.model.dtype == wanted else float(setup.model.parameters * size)


def saved_bytes(setup: Setup) -> float:
    """The weights are written before the optimiser's state, and let go of; a state that is whole goes by tensors."""
    weights = float(setup.trained_bytes)
    return max(weights, memory.state_bytes(setup)) if setup.step.sharding == "fsdp" else min(weights, FILE_BYTES)
