"""Which attention kernel, and what keeps rows apart that share a sequence."""

from typing import Final, NamedTuple

from sftrun.contract.choices import Attention
from sftrun.step.given import Machine, Model, Settings
from sftrun.step.precision import step_dtype

LARGEST_HEAD: Final = 256  # what FlashAttention 2 holds in registers, which `varlen` runs
HEAD_STEP: Final = 8


class Kernel(NamedTuple):
    """The kernel and its reason."""

    name: Attention
    reason: str


def holds(head: int) -> bool:
    """Whether variable-length attention has kernels for heads of that size."""
    return head <= LARGEST_HEAD and head % HEAD_STEP == 0


def has_varlen_kernel(given: Settings, model: Model, machine: Machine) -> bool:
    """Whether `varlen` runs torch's kernel there: FlashAttention, from Ampere on, in 16 bits and without dropout.

    Not for a model that would mix rows all the same: `varlen` is SDPA with a mask there.
    """
    can = machine.has_gpu and machine.has_bf16 and not model.drops_attention and "varlen" in model.keeps_rows_apart
    return can and given.attention == "varlen" and step_dtype(given) != "float32"


def choose(given: Settings, model: Model, machine: Machine) -> Kernel:
    """The fastest that computes the model in the type of its steps."""
    trainer = given.trainer
    if not trainer.library.runs_our_step:
        return Kernel("sdpa", f"the {trainer.engine} engine brings its own attention")
    if model.caps_scores:
        return Kernel("eager", "the model caps attention scores, which the faster kernels here don't")
    if model.head_dim is not None and not holds(model.head_dim):
        return _padded(model, f"heads of {model.head_dim} are too large or odd for variable-length attention")
    if machine.has_gpu and machine.has_bf16:
        if model.drops_attention:
            return _padded(model, "the model's attention has dropout, which variable-length attention has not")
        if step_dtype(given) == "float32":
            return _padded(model, "variable-length attention computes in 16 bits, the steps in 32")
        if "varlen" in model.keeps_rows_apart:
            return Kernel("varlen", "padding-free: rows follow one another, and each sees only itself")
    if trainer.packing and model.keeps_rows_apart & {"eager", "sdpa"}:
        return Kernel(_masked(model), "packed rows must not see each other; a mask keeps them apart here")
    if machine.has_gpu and machine.has_bf16:
        return _padded(
            model, "rows are padded: padding-free they would see each other in this model, or have no kernel"
        )
    return _padded(model, "the fastest for padded batches on this device")


def _masked(model: Model) -> Attention:
    if "sdpa" not in model.keeps_rows_apart:
        return "eager"
    return "varlen" if "varlen" in model.keeps_rows_apart else "sdpa"


def _padded(model: Model, reason: str) -> Kernel:
    return Kernel("sdpa" if model.has_sdpa else "eager", reason)
