"""What a GPU's memory leaves room for: activations kept, 4-bit weights kept in 16 bits besides.

Of what fits the fastest is taken.  Keeping activations gains more (30,000 tokens/s against 21,000 where that was
measured) than keeping weights (a tenth), so it goes first.
"""

from sftrun.facts.models import Facts
from sftrun.plan import memory
from sftrun.plan.decisions import Chosen, Room
from sftrun.plan.estimate import Inputs, inputs, peak
from sftrun.plan.models import MemoryEstimate, Plan
from sftrun.plan.setup import Setup

ROOMY = 0.85  # the peak stays below this share of the GPU's memory


def room(plan: Plan, facts: Facts) -> Room:
    """The first of the choices, fastest first, that fits; the last one where none does."""
    is_open = plan.recipe.trainer.gradient_checkpointing == "auto"
    known = inputs(plan, facts)
    if not isinstance(known, Inputs):
        return Room(Chosen(True, "memory without it is not known: the safe choice") if is_open else None)
    can_copy = is_copyable(known.setup)
    if not is_open and not can_copy:
        return Room()
    recomputed = (False, True) if is_open else (plan.trainer.gradient_checkpointing,)
    choices = [(again, copied) for again in recomputed for copied in ((True, False) if can_copy else (False,))]
    again, copied = next((c for c in choices if _fits(_needs(known, *c))), choices[-1])
    return Room(
        checkpointing=Chosen(again, _without(_needs(known, False, False))) if is_open else None,
        dequantize=Chosen(copied, _copy_reason(known.setup, copied)) if can_copy else None,
    )


def is_copyable(setup: Setup) -> bool:
    """Whether LoRA's joined products can read a 16-bit copy of their 4-bit weights: the only code that would use it."""
    quantization = setup.quantization
    if quantization is None or setup.bits != 4 or not setup.trainer.compile_layers or setup.sharding == "fsdp":
        return False
    step = "bfloat16" if setup.trainer.bf16 else "float16" if setup.trainer.fp16 else None
    return setup.joins_adapters and quantization.bnb_4bit_compute_dtype == step


def _needs(known: Inputs, again: bool, copied: bool) -> MemoryEstimate:
    trainer = known.setup.trainer.model_copy(update={"gradient_checkpointing": again, "dequantize": copied})
    return peak(known._replace(setup=known.setup._replace(trainer=trainer)))


def _fits(needs: MemoryEstimate) -> bool:
    return needs.peak_gb <= ROOMY * needs.capacity_gb


def _without(needs: MemoryEstimate) -> str:
    return f"{needs.peak_gb:.0f} GB without it, the GPU has {needs.capacity_gb:.0f} GB"


def _copy_reason(setup: Setup, is_copied: bool) -> str:
    assert setup.quantization is not None
    more = f"{memory.copies_bytes(setup) / memory.GB:.1f} GB more"
    if is_copied:
        kept = setup.quantization.bnb_4bit_compute_dtype
        return f"the same rounded weights, kept in {kept}: {more}, no dequantising each step"
    return f"{more} would not stay below {ROOMY:.0%} of the GPU's memory"
