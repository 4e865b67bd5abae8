"""Decoder layers: compiled or plain, and who computes their activations again."""

from collections.abc import Iterator

from sftrun.contract.engines import Engine
from sftrun.contract.stepplan import Checkpointing
from sftrun.step.given import Settings

# below this many steps the 11-60 s that compiling costs are not earned back
STEPS_WORTH_COMPILING = 200


def uncompiled_because(given: Settings, steps: int | None) -> str | None:
    """Why layers stay plain, which compiled need `varlen`'s kernel; None where they are worth it.

    `steps`: of the run, if known.
    """
    return next(_obstacles(given, steps), None)


def checkpointing(wanted: bool, engine: Engine, compiled: bool) -> Checkpointing:
    """Who does it: the compiler's and transformers' must not meet."""
    if not wanted:
        return "none"
    return "offloaded" if engine.offloads_checkpoints else "compiler" if compiled else "transformers"


def _obstacles(given: Settings, steps: int | None) -> Iterator[str]:
    if not given.trainer.library.runs_our_step:
        yield f"the {given.trainer.engine} engine compiles by itself"
    if given.liger:
        yield "Liger's kernels, which you asked for, fail under the compiler"
    if given.quantization is not None and given.quantization.load_in_8bit:
        yield "not measured with 8-bit weights"
    if given.lora is not None and given.lora.target_parameters:
        yield "`target_parameters` are put on anew in each pass, which breaks what is compiled"
    if given.sharded:
        yield "not measured with sharded weights"
    if steps is not None and steps < STEPS_WORTH_COMPILING:
        yield f"{steps} steps don't earn back the compiling"
