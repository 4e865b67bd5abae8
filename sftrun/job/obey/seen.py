"""How steps are computed, read off the trainer that stands: the job's own report (`events.StepsReady`)."""

from typing import Any

from sftrun.contract.choices import Dtype
from sftrun.contract.stepplan import Checkpointing, Layout, Packer, Precision, Sharding, StepPlan
from sftrun.job.fast import attention
from sftrun.job.fast.layers import Prepared
from sftrun.job.obey.orders import Here
from sftrun.job.train import added_tokens
from sftrun.job.train.trainer import JobTrainer

MAGNITUDE = "lora_magnitude_vector"  # DoRA's: fp32, whatever the adapter is


def step_of(trainer: JobTrainer, prepared: Prepared | None, ordered: StepPlan, here: Here) -> StepPlan:
    """What is done; of `ordered`, where that leaves no trace in a trainer."""
    args, base = trainer.args, _base(trainer.model)
    kernel, groups = base.config._attn_implementation, [] if prepared is None else prepared.groups
    has_hooks = kernel == attention.NAME and prepared is not None
    return StepPlan(
        attention=kernel,
        has_varlen_kernel=has_hooks and ordered.has_varlen_kernel and here.has_varlen_kernel,
        layout=_layout(trainer),
        packed_by=_packed_by(args),
        pad_to_multiple_of=args.pad_to_multiple_of,
        fused_lora=bool(groups),
        unfused_because=ordered.unfused_because,
        dequantized=any(group.copied for group in groups),
        compiled=prepared is not None and prepared.compiled,
        liger=args.use_liger_kernel,
        checkpointing=_checkpointing(trainer, prepared),
        cuda_graphs=prepared is not None and prepared.graphed is not None,
        head=trainer.head,
        sharding=_sharding(trainer),
        keeps_fetched=trainer.is_fsdp_enabled and not args.fsdp_plugin_args["reshard_after_forward"],
        precision=_precision(trainer, base),
        preparing=ordered.preparing,
    )


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _layout(trainer: JobTrainer) -> Layout:
    if trainer.args.packing:
        return "packed"
    return "padding_free" if trainer.args.padding_free else "padded"


def _packed_by(args: Any) -> Packer | None:
    if not args.packing:
        return None
    return "sftrun" if (args.dataset_kwargs or {}).get("skip_prepare_dataset") else "trl"


def _checkpointing(trainer: JobTrainer, prepared: Prepared | None) -> Checkpointing:
    if prepared is not None and prepared.checkpointing:
        return "compiler"
    if not trainer.args.gradient_checkpointing:
        return "none"
    return "offloaded" if trainer.spec.trainer.library.offloads_checkpoints else "transformers"


def _sharding(trainer: JobTrainer) -> Sharding:
    if trainer.is_fsdp_enabled:
        return "fsdp"
    return "ddp" if trainer.accelerator.num_processes > 1 else "one"


def _precision(trainer: JobTrainer, base: Any) -> Precision:
    """Of each kind of weights the type that its first one has."""
    args = trainer.args
    trained = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    adapters = [w for name, w in trained.items() if "lora_" in name and MAGNITUDE not in name]
    own = [w for name, w in trained.items() if "lora_" not in name and added_tokens.MARK not in name]
    autocast: Dtype | None = "bfloat16" if args.bf16 else "float16" if args.fp16 else None
    return Precision(
        step=autocast or _type(base.get_input_embeddings().weight),
        adapters=_type(adapters[0]) if adapters else None,
        trained=_type(own[0]) if own else None,
    )


def _type(weight: Any) -> Any:
    return str(weight.dtype).removeprefix("torch.")
