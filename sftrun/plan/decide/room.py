"""What a GPU's memory leaves room for: activations kept, 4-bit weights kept in 16 bits besides.

Of what fits the fastest is taken.  Keeping activations gains more (30,000 tokens/s against 21,000 where that was
measured) than keeping weights (a tenth), so it goes first.  What is left may take a step's micro-batches at once, and
steps that a CPU could hold up may be replayed as CUDA graphs.
"""

from sftrun.facts.gpus import calibration
from sftrun.facts.values import Facts
from sftrun.plan.decide.decisions import Chosen, Room
from sftrun.plan.estimate import graph_memory, lengths, memory, roofline, workload
from sftrun.plan.estimate.roofline import StepTime
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.estimate.total import Inputs, inputs, peak
from sftrun.plan.estimate.workload import Batch
from sftrun.plan.types import MemoryEstimate, Plan
from sftrun.recipe.known import SHARDED_OPTIMIZERS
from sftrun.step import cuda_graphs, fused

ROOMY = 0.85  # the peak stays below this share of the GPU's memory
SMALL_TOKENS = 4096  # a step of fewer, padding-free, waits for its launches
SHARE = 0.6  # a larger one is captured where launching it takes so much of what the GPU computes, or more
CAPTURE_SECONDS = 0.5  # of a shape; it has to come back on a busy CPU
LARGE_TOKENS = 32_768  # a step of more gains nothing from being larger


def room(plan: Plan, facts: Facts) -> Room:
    """The first of the choices, fastest first, that fits; the last one where none does."""
    is_open = plan.recipe.trainer.gradient_checkpointing == "auto"
    known = inputs(plan, facts)
    if not isinstance(known, Inputs):
        return Room(Chosen(True, "memory without it is not known: the safe choice") if is_open else None)
    can_copy = fused.can_dequantize(plan.step, plan.quantization, plan.trainer)
    recomputed = (False, True) if is_open else (plan.step.checkpointing != "none",)
    choices = [(again, copied) for again in recomputed for copied in ((True, False) if can_copy else (False,))]
    tries = [known.computing(checkpointed=again, dequantized=copied) for again, copied in choices]
    chosen = next((found for found in tries if _fits(peak(found))), tries[-1])
    at_once = _at_once(chosen)
    merged = _merged(chosen) if at_once is not None and at_once.value else chosen
    step = chosen.setup.step
    kept = peak(known.computing(checkpointed=False, dequantized=False))
    return Room(
        checkpointing=Chosen(step.checkpointing != "none", _without(kept)) if is_open else None,
        dequantized=Chosen(step.dequantized, _copy_reason(known.setup, step.dequantized)) if can_copy else None,
        at_once=at_once,
        cuda_graphs=_captured(merged),
    )


def may_shard(plan: Plan) -> bool:
    """Whether FSDP is to be thought of: several GPUs of one machine, and nothing that it can't do or that says no."""
    trainer, written = plan.trainer, plan.recipe.trainer.extra
    if plan.compute.gpu_count < 2 or plan.compute.nodes > 1 or not trainer.library.can_shard or trainer.fp16:
        return False
    in_8bit = plan.quantization is not None and plan.quantization.load_in_8bit
    return not in_8bit and trainer.optim in SHARDED_OPTIMIZERS and "fsdp" not in written


def fsdp(plan: Plan, other: Plan, facts: Facts) -> Chosen | None:
    """Where the weights are to be sharded: `plan`, with all of them on each GPU, does not fit, and `other` does."""
    whole, shared = _least(plan, facts), _least(other, facts)
    if whole is None or shared is None or whole.fits or not shared.fits:
        return None
    words = f"{shared.peak_gb:.0f} GB a GPU, not {whole.peak_gb:.0f} GB as with all weights on each; a GPU has "
    return Chosen(True, f"{words}{shared.capacity_gb:.0f} GB")


def _least(plan: Plan, facts: Facts) -> MemoryEstimate | None:
    """The peak by the choices that need least."""
    known = inputs(plan, facts)
    if not isinstance(known, Inputs):
        return None
    again = plan.step.checkpointing != "none" or plan.recipe.trainer.gradient_checkpointing == "auto"
    return peak(known.computing(checkpointed=again, dequantized=False))


def _at_once(known: Inputs) -> Chosen | None:
    """Whether a step's micro-batches go through together; None where there is but one, or nothing to gain."""
    trainer, step = known.setup.trainer, known.setup.step
    times, batch = trainer.gradient_accumulation_steps, _batch(_merged(known))
    has_rows_alone = step.compiled and step.layout != "padded"
    if times == 1 or not has_rows_alone or batch is None or batch.real_tokens > LARGE_TOKENS:
        return None
    needs, at_once = peak(_merged(known)), trainer.per_device_train_batch_size * times
    found = None if known.train is None else workload.sequences(trainer, known.train, known.eval_fraction)
    if found and (again := workload.repeated(found, at_once, known.setup.gpus)):
        return Chosen(False, f"an epoch of {found} would be filled up with {again} that were learnt from before")
    if not _fits(needs):
        return Chosen(False, f"{needs.peak_gb:.0f} GB at once, the GPU has {needs.capacity_gb:.0f} GB")
    what = "sequences" if trainer.packing else "rows"
    words = f"{trainer.per_device_train_batch_size} × {times} {what} at once: the same {what} a step, the same mean"
    return Chosen(True, f"{words} over their tokens, {times} times fewer launches")


def _captured(known: Inputs) -> Chosen | None:
    """Whether CUDA graphs replay the steps; None where their kernels are no burden, or can't be captured."""
    setup, batch = known.setup, _batch(known)
    can = cuda_graphs.can_capture(setup.step, setup.trainer)
    if not can or batch is None or not _waits_for_launches(known, batch):
        return None
    needs = peak(known.computing(cuda_graphs=True))
    if not _fits(needs):
        return Chosen(False, f"{needs.peak_gb:.0f} GB with them, the GPU has {needs.capacity_gb:.0f} GB")
    words = (
        f"a step has about {batch.real_tokens:.0f} tokens: a busy CPU takes longer to launch it than the GPU to run it"
    )
    return Chosen(True, words)


def _waits_for_launches(known: Inputs, batch: Batch) -> bool:
    if batch.layout == "padding_free" and batch.real_tokens <= SMALL_TOKENS:
        return True
    plain, usual = _step(known, batch), graph_memory.usual_shapes(known.setup, batch, known.gpu)
    if plain.host <= SHARE * sum(plain.gpu.values()) or usual > cuda_graphs.LIMIT:
        return False
    replayed = _step(known.computing(cuda_graphs=True), batch)
    steps = None if known.train is None else workload.total_steps(known.setup.trainer, known.train, 1)
    return (steps or 0) * (plain.busy - replayed.busy) >= CAPTURE_SECONDS * usual


def _step(known: Inputs, batch: Batch) -> StepTime:
    return roofline.step(known.setup, batch, 1, known.gpu, calibration.shipped())


def _batch(known: Inputs) -> Batch | None:
    """The mean micro-batch."""
    trainer = known.setup.trainer
    found = None if known.train is None else lengths.of(known.train, trainer.max_length)
    return None if found is None else workload.batch(trainer, known.setup.step, found, 1)


def _merged(known: Inputs) -> Inputs:
    trainer = known.setup.trainer
    rows = trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps
    return known.training(per_device_train_batch_size=rows, gradient_accumulation_steps=1)


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
