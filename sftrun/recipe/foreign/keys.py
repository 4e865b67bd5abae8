"""Tables of `importing`: what tells the tools apart, what their keys are here, and what needs no place here."""

# keys that only this tool's files have together
TOOLS: dict[str, set[str]] = {
    "axolotl": {
        "base_model",
        "adapter",
        "datasets",
        "sequence_len",
        "micro_batch_size",
        "num_epochs",
        "val_set_size",
        "lora_target_linear",
        "dataset_prepared_path",
        "sample_packing",
    },
    "LLaMA-Factory": {
        "finetuning_type",
        "stage",
        "template",
        "cutoff_len",
        "lora_rank",
        "lora_target",
        "do_train",
        "dataset",
        "overwrite_cache",
        "quantization_bit",
    },
    "TRL": {
        "dataset_name",
        "use_peft",
        "lora_r",
        "lora_target_modules",
        "dataset_train_split",
        "max_length",
        "per_device_train_batch_size",
        "model_name_or_path",
        "attn_implementation",
    },
}

_LORA = {"lora_alpha": "lora.lora_alpha", "lora_dropout": "lora.lora_dropout"}
_MODEL = {"trust_remote_code": "model.trust_remote_code", "model_revision": "model.revision"}

RENAMED: dict[str, dict[str, str]] = {
    "axolotl": {
        **_LORA,
        **_MODEL,
        "revision_of_model": "model.revision",
        "lora_r": "lora.r",
        "peft_use_dora": "lora.use_dora",
        "peft_use_rslora": "lora.use_rslora",
        "sequence_len": "trainer.max_length",
        "sample_packing": "trainer.packing",
        "micro_batch_size": "trainer.per_device_train_batch_size",
        "eval_batch_size": "trainer.per_device_eval_batch_size",
        "num_epochs": "trainer.num_train_epochs",
        "optimizer": "trainer.optim",
        "lr_scheduler": "trainer.lr_scheduler_type",
        "shuffle_merged_datasets": "dataset.shuffle",
        "liger_kernel": "trainer.use_liger_kernel",
    },
    "LLaMA-Factory": {
        **_LORA,
        **_MODEL,
        "lora_rank": "lora.r",
        "use_dora": "lora.use_dora",
        "use_rslora": "lora.use_rslora",
        "cutoff_len": "trainer.max_length",
        "enable_liger_kernel": "trainer.use_liger_kernel",
        "preprocessing_num_workers": "trainer.extra.dataset_num_proc",
        "double_quantization": "quantization.bnb_4bit_use_double_quant",
        "quantization_type": "quantization.bnb_4bit_quant_type",
    },
    "TRL": {
        **_LORA,
        **_MODEL,
        "lora_r": "lora.r",
        "use_rslora": "lora.use_rslora",
        "use_dora": "lora.use_dora",
        "bnb_4bit_quant_type": "quantization.bnb_4bit_quant_type",
        "use_bnb_nested_quant": "quantization.bnb_4bit_use_double_quant",
        "dataset_name": "dataset.train.hub",
        "dataset_config": "dataset.train.config",
        "dataset_train_split": "dataset.train.split",
        "max_seq_length": "trainer.max_length",
        "shuffle_dataset": "dataset.shuffle",
        "run_name": "name",
    },
}

# SFTConfig fields that the other two tools hand on under the same name
EXTRA_OF_ALL = frozenset(
    {
        "neftune_noise_alpha",
        "tf32",
        "ddp_timeout",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "label_smoothing_factor",
        "data_seed",
        "lr_scheduler_kwargs",
        "torch_compile",
    }
)

_FOLLOWS = "follows from the model"
_SHARDS = "the plan shards weights (FSDP2) where one GPU has no room for them"
_RESUMES = "`sftrun apply` resumes by itself"
_TRAINS = "a recipe always trains"
DROPPED: dict[str, dict[str, str]] = {
    "axolotl": {
        "deepspeed": _SHARDS,
        "fsdp": _SHARDS,
        "fsdp_config": _SHARDS,
        "model_type": _FOLLOWS,
        "tokenizer_type": _FOLLOWS,
        "chat_template": "the model's own is used",
        "dataset_prepared_path": "prepared data is cached by content",
        "pad_to_sequence_len": "rows are kept apart by attention",
        "eval_sample_packing": "evaluation follows training",
        "strict": "",
        "resume_from_checkpoint": _RESUMES,
        "auto_resume_from_checkpoints": _RESUMES,
    },
    "LLaMA-Factory": {
        "deepspeed": _SHARDS,
        "fsdp": _SHARDS,
        "fsdp_config": _SHARDS,
        "do_train": _TRAINS,
        "do_eval": "name rows in `dataset.eval`",
        "template": "the model's own chat template is used",
        "overwrite_cache": "data is cached by content",
        "overwrite_output_dir": "`sftrun apply --force` starts over",
        "plot_loss": "`sftrun report` draws the losses",
        "save_only_model": "a checkpoint must hold all that resuming needs",
        "resume_from_checkpoint": _RESUMES,
        "quantization_method": "bitsandbytes is used",
        "max_samples": "sample the file beforehand, or use `max_steps`",
    },
    "TRL": {
        "deepspeed": _SHARDS,
        "do_train": _TRAINS,
        "do_eval": "name rows in `dataset.eval`",
        "overwrite_output_dir": "`sftrun apply --force` starts over",
        "resume_from_checkpoint": _RESUMES,
        "push_to_hub": "see `sftrun pull`",
        "hub_model_id": "see `sftrun pull`",
        "hub_token": "put it into a Modal Secret",
        "dataset_test_split": "name rows in `dataset.eval`",
        "padding_free": "follows from packing and attention",
    },
}
