"""JobSpec -> the fast path on a trainer that stands: rows end to end, few large products, compiled layers.

It is the same on a CPU and on a GPU, but for what a CPU has no use for: there LoRA stays PEFT's unless the plan asks
for compiled layers or dequantised weights, and no CUDA graphs are recorded (`graphs`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accelerate.utils import DistributedType

from sftrun.contract.jobspec import JobSpec
from sftrun.job.channel import Channel
from sftrun.job.failures import JobFailure
from sftrun.job.fast import attention, head, layers
from sftrun.job.train.loading import has_gpu
from sftrun.job.train.trainer import JobTrainer

Rows = Sequence[Mapping[str, Any]]
Collate = Callable[[Rows], dict[str, Any]]


def require_attention(spec: JobSpec, model: Any) -> None:
    """Say at once, and not after the samples, that `varlen` can't train this model."""
    if spec.model.attn_implementation == attention.NAME:
        try:
            attention.check(model.config)
        except attention.UnsupportedAttention as error:
            raise refused(error) from error


def collator(spec: JobSpec, inner: Collate, config: Any) -> Collate:
    """TRL's collator for such a model, with where rows begin and what is learnt.  Before any loader is made of it."""
    wanted = spec.trainer
    if wanted.engine == "trl" and spec.model.attn_implementation == attention.NAME:
        steps = attention.recorded_steps(config, wanted.max_length) if wanted.cuda_graphs else ()
        inner = attention.BoundsCollator(inner, *steps)
    return head.LearntCollator(inner)


def prepare(spec: JobSpec, trainer: JobTrainer, channel: Channel) -> layers.Prepared | None:
    """Make the trainer's model fast; after TRL cast the adapter, before it trains.  None: nothing was asked for."""
    wanted = spec.trainer
    is_varlen = spec.model.attn_implementation == attention.NAME
    if wanted.engine != "trl" or not (wanted.compile_layers or wanted.dequantize or is_varlen):
        return None
    plain = plain_because(spec)
    try:
        prepared = layers.prepare(
            trainer.model,
            compile_layers=wanted.compile_layers,
            dequantize=wanted.dequantize,
            checkpointing=wanted.gradient_checkpointing and wanted.compile_layers,
            fuse_lora=spec.lora is not None and plain is None and _is_worth_fusing(spec),
            cuda_graphs=wanted.cuda_graphs,
        )
    except attention.UnsupportedAttention as error:
        raise refused(error) from error
    notes = [*prepared.notes, f"LoRA's products stay PEFT's: {plain}"] if plain else prepared.notes
    for note in notes:
        channel.note(note)
    if trainer.accelerator.distributed_type == DistributedType.NO and trainer.args.n_gpu <= 1:
        # PEFT's model says that it trains while transformers loaded its layers to rest; `quicken` believes what it says
        trainer.model.train()
        layers.quicken(trainer)
    return prepared


def undo(prepared: layers.Prepared | None) -> None:
    """Plain layers again: an answer has other shapes than a training row."""
    if prepared is not None:
        layers.undo(prepared)


def plain_because(spec: JobSpec) -> str | None:
    """Why LoRA's products can't ride in the frozen weights' (`lora_linear`); None where they can."""
    lora, quantization, wanted = spec.lora, spec.quantization, spec.trainer
    if lora is None:
        return None
    in_4bit = quantization is not None and quantization.load_in_4bit
    weights = quantization.bnb_4bit_compute_dtype if quantization is not None and in_4bit else spec.model.dtype
    step = "bfloat16" if wanted.bf16 else "float16" if wanted.fp16 else weights
    reasons = {
        "`lora_dropout` is above 0": lora.lora_dropout > 0,
        "`use_dora` scales each output": lora.use_dora,
        "`bias` trains the frozen layers' biases": lora.bias != "none",
        "8-bit weights are bitsandbytes' own": quantization is not None and quantization.load_in_8bit,
        "the weights are spread over GPUs": wanted.fsdp,
        f"the weights compute in {weights}, the step in {step}": weights != step,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def refused(error: attention.UnsupportedAttention) -> JobFailure:
    """The refusal, its last part being what to do."""
    what, _, todo = str(error).partition("; ")
    return JobFailure("model", what, todo or None)


def _is_worth_fusing(spec: JobSpec) -> bool:
    return has_gpu() or spec.trainer.compile_layers or spec.trainer.dequantize
