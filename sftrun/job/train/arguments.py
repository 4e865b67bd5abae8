"""JobSpec -> keyword arguments of SFTConfig, LoraConfig and BitsAndBytesConfig.  Pure, and tested without torch.

Rows reach TRL tokenised, labelled and cut (`tokens`), so that what is learnt is decided and counted in one place.  So
`max_length` goes along only where TRL packs to it; checkpoints are kept and dropped by `checkpoints`, after each
has its marker, so that `save_total_limit` never leaves the run without a whole one.
"""

from sftrun.contract.choices import METRICS
from sftrun.contract.jobspec import JobSpec, LoraSpec, QuantizationSpec, Scalar, TrainerSpec
from sftrun.contract.stepplan import StepPlan

Arguments = dict[str, object]
# batches are fetched while the GPU computes, by so many processes
_LOADING: Arguments = {
    "dataloader_num_workers": 2,
    "dataloader_persistent_workers": True,
    "accelerator_config": {"non_blocking": True},
}
# Fields of TrainerSpec that are SFTConfig's under the same name, with the same meaning.
SAME = (
    "num_train_epochs",
    "max_steps",
    "packing",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "optim",
    "bf16",
    "fp16",
    "logging_steps",
    "save_steps",
    "load_best_model_at_end",
    "metric_for_best_model",
    "seed",
)
# Fields that our own code obeys in SFTConfig's stead, and where.
ELSEWHERE = {
    "engine": "model",
    "max_length": "rows",
    "eval_steps": "here",
    "save_total_limit": "checkpoints",
    "early_stopping_patience": "best_so_far",
    "report_to": "track",
    "extra": "here",
}
# Fields of `trainer.extra` that our own tokenising makes meaningless.
TOKENISING = ("dataset_num_proc",)
# Fields of `trainer.extra` that are merged with ours.
ELSEWHERE_IN_EXTRA = (*TOKENISING, "fsdp", "fsdp_config")


def sft_config(spec: JobSpec, *, has_eval: bool, has_gpu: bool) -> Arguments:
    """Keyword arguments of TRL's SFTConfig; `trainer.extra` has the last word."""
    trainer = spec.trainer
    arguments: Arguments = {name: getattr(trainer, name) for name in SAME}
    arguments |= {
        "output_dir": spec.checkpoints_dir,
        "run_name": spec.name,
        "max_length": trainer.max_length if trainer.packing else None,
        "packing_strategy": "bfd",
        "assistant_only_loss": False,
        "completion_only_loss": False,
        "train_sampling_strategy": "random" if spec.dataset.shuffle else "sequential",
        "save_strategy": "steps",
        "greater_is_better": METRICS.get(trainer.metric_for_best_model or ""),
        "save_total_limit": None,
        "logging_strategy": "steps",
        "logging_nan_inf_filter": False,
        "report_to": "none",  # trackers follow the record, each in a process of its own
        "disable_tqdm": True,
        "log_level": "warning",
        "use_cpu": not has_gpu,
        "dataloader_pin_memory": has_gpu,
    }
    arguments |= _evaluation(trainer, has_eval)
    if has_gpu and trainer.library.runs_our_step:
        arguments |= _LOADING
    arguments |= _computing(spec.step)
    if spec.step.sharding == "fsdp":
        arguments |= _sharding_arguments(spec)
    return arguments | {key: value for key, value in trainer.extra.items() if key not in ELSEWHERE_IN_EXTRA}


def lora_config(lora: LoraSpec) -> Arguments:
    """Keyword arguments of PEFT's LoraConfig."""
    targets, excluded = lora.target_modules, lora.exclude_modules
    return {
        "task_type": "CAUSAL_LM",
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "bias": lora.bias,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "target_parameters": list(lora.target_parameters) or None,
        "exclude_modules": (excluded if isinstance(excluded, str) else list(excluded)) or None,
        "layers_to_transform": list(lora.layers_to_transform) or None,
        "rank_pattern": dict(lora.rank_pattern),
        "alpha_pattern": dict(lora.alpha_pattern),
        "init_lora_weights": lora.init_lora_weights,
        "modules_to_save": list(lora.modules_to_save) or None,
        "ensure_weight_tying": lora.ensure_weight_tying,
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
    }


def bnb_config(quantization: QuantizationSpec, step: StepPlan | None = None) -> Arguments:
    """Keyword arguments of transformers' BitsAndBytesConfig; types go by name.

    FSDP shards what is of a floating type, and casts it to the type of the step: 4-bit weights lie in that one, as the
    bits that they are.
    """
    if quantization.load_in_8bit:
        return {"load_in_8bit": True}
    arguments = quantization.model_dump(exclude={"load_in_8bit"})
    if step is not None and step.sharding == "fsdp":
        arguments["bnb_4bit_quant_storage"] = step.precision.step
    return arguments


def _computing(step: StepPlan) -> Arguments:
    """What SFTConfig has a word for of how a step is computed; `fast_path` does the rest."""
    arguments: Arguments = {
        "padding_free": step.layout == "padding_free",
        # the compiler checkpoints by itself (`layers`), and the two must not meet
        "gradient_checkpointing": step.checkpointing in ("transformers", "offloaded"),
        "use_liger_kernel": step.liger,
    }
    if step.pad_to_multiple_of is not None:
        arguments["pad_to_multiple_of"] = step.pad_to_multiple_of
    if step.packed_by == "sftrun":
        arguments["dataset_kwargs"] = {"skip_prepare_dataset": True}
    if step.liger:
        # TRL's own fused head computes the loss; Liger's would replace the forward it lives in
        arguments["liger_kernel_config"] = {"fused_linear_cross_entropy": False}
    return arguments


def _sharding_arguments(spec: JobSpec) -> Arguments:
    """FSDP2.  Unquantised weights are read by the first process alone and sent out by shares."""
    given = spec.trainer.extra.get("fsdp_config")
    options: dict[str, Scalar] = {"version": 2, "cpu_ram_efficient_loading": spec.quantization is None}
    for key, value in given.items() if isinstance(given, dict) else ():
        options[key.removeprefix("fsdp_")] = value
    options["reshard_after_forward"] = not spec.step.keeps_fetched
    return {"fsdp": True, "fsdp_config": options}


def _evaluation(trainer: TrainerSpec, has_eval: bool) -> Arguments:
    if not has_eval or trainer.eval_steps is None:
        return {"eval_strategy": "no"}
    return {"eval_strategy": "steps", "eval_steps": trainer.eval_steps}
