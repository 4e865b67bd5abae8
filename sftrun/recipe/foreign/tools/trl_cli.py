"""A configuration of `trl sft` -> a recipe."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.draft import Draft

# PEFT's default targets by the model's family, told by its name (peft.utils.constants, 0.21)
PEFT_TARGETS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nemotron-h", ("q_proj", "k_proj", "v_proj", "o_proj")),
    ("phi-1", ("q_proj", "v_proj", "fc1", "fc2")),
    ("phi-2", ("q_proj", "v_proj", "fc1", "fc2")),
    ("pythia", ("query_key_value",)),
    ("falcon-h1", ()),
    ("falcon", ("query_key_value",)),
    ("bloom", ("query_key_value",)),
    ("gpt-neox", ("query_key_value",)),
    ("gpt2", ("c_attn",)),
    ("gemma-4", ()),
    ("qwen3.5", ()),
    ("qwen3-next", ()),
    *((family, ("q_proj", "v_proj")) for family in ("qwen", "llama", "mistral", "mixtral", "gemma", "opt-", "smollm")),
)


def carry(draft: Draft, values: dict[str, Any]) -> set[str]:
    """What is no plain renaming.  Answers with the keys that are done."""
    draft.is_lora = bool(values.get("use_peft"))
    return shared.carry(draft, values, KEYS, STEPS) | TOGETHER | EXTRA


def adapter(draft: Draft, values: dict[str, Any]) -> None:
    draft.use(*(["use_peft"] if draft.is_lora else []))
    modules = values.get("lora_target_modules")
    if draft.is_lora and modules:
        modules = [modules] if isinstance(modules, str) and modules != "all-linear" else modules
        shared.targets(draft, ("lora_target_modules",), modules)
    elif draft.is_lora and "lora_target_parameters" not in values:
        default_targets(draft, str(values.get("model_name_or_path", "")), ("use_peft",))
    for bits in ("load_in_4bit", "load_in_8bit"):
        if values.get(bits):
            draft.put((bits,), f"quantization.{bits}", True)
    if values.get("load_in_4bit"):
        word = shared.DTYPES.get(str(values.get("dtype", values.get("torch_dtype", "float32"))), "bfloat16")
        draft.values["quantization.bnb_4bit_compute_dtype"] = word


def default_targets(draft: Draft, model: str, at: Path) -> None:
    """The targets that PEFT takes where none are named."""
    found = next((names for family, names in PEFT_TARGETS if family in model.lower()), ())
    if found:
        draft.default("lora.target_modules", list(found))
    else:
        draft.differ(at, True, "name the target modules: PEFT's default for this model is not known here")


def _rows(draft: Draft, values: dict[str, Any]) -> None:
    found: list[dict[str, Any]] = []
    draft.use("datasets", "dataset_name", "dataset_config", "dataset_train_split")
    if isinstance(values.get("datasets"), list):
        found = [_mixed(draft, ("datasets", number), one) for number, one in enumerate(values["datasets"])]
        if values.get("dataset_name"):
            draft.same(("dataset_name",), values["dataset_name"], "`datasets` decides")
    elif values.get("dataset_name"):
        found = [_named(values, str(values["dataset_name"]), str(values.get("dataset_train_split", "train")))]
        if _evaluates(values):
            draft.use("dataset_test_split")
            split = str(values.get("dataset_test_split", "test"))
            draft.values["dataset.eval"] = _named(values, str(values["dataset_name"]), split)
    shared.sources(draft, ("datasets",), "train", found)
    if values.get("test_split_size"):
        shared.eval_share(draft, ("test_split_size",), values["test_split_size"])


def _named(values: dict[str, Any], name: str, split: str) -> dict[str, Any]:
    if shared.is_file(name):
        return {"path": name}
    config = values.get("dataset_config")
    return {"hub": name} | ({"config": config} if config else {}) | {"split": split}


def _mixed(draft: Draft, at: Path, one: dict[str, Any]) -> dict[str, Any]:
    path = str(one.get("path", ""))
    source = {"path": path} if shared.is_file(path) else {"hub": path}
    if path in ("json", "csv", "parquet", "text"):
        source = {"path": str(one.get("data_files"))}
    for theirs, ours in (("name", "config"), ("split", "split"), ("revision", "revision")):
        if one.get(theirs):
            source[ours] = one[theirs]
    for key in ("data_dir", "columns"):
        if one.get(key):
            draft.differ((*at, key), one[key], "columns are told by what they hold")
    return source


def _evaluates(values: dict[str, Any]) -> bool:
    return values.get("eval_strategy", values.get("evaluation_strategy", "no")) not in ("no", False)


def often(draft: Draft, values: dict[str, Any]) -> None:
    epochs = values.get("num_train_epochs", 3)
    for kind in ("eval", "save"):
        strategy = values.get(f"{kind}_strategy", values.get("evaluation_strategy") if kind == "eval" else None)
        at = (f"{kind}_strategy",) if strategy == "epoch" else (f"{kind}_steps",)
        if kind == "eval" and not _evaluates(values):
            for key in ("eval_steps", "dataset_test_split"):
                if key in values:
                    draft.same((key,), values[key], "eval_strategy is no")
        elif strategy in ("no", False):
            draft.same((f"{kind}_strategy",), strategy, "checkpoints do not change what is learnt")
        else:
            shared.how_often(draft, kind, strategy, at, values.get(f"{kind}_steps"), epochs)
    for key in ("warmup_ratio", "warmup_steps"):
        if values.get(key):
            shared.warmup(draft, (key,), values[key])
    if isinstance(values.get("max_steps"), int) and values["max_steps"] > 0:
        draft.put(("max_steps",), "trainer.max_steps", values["max_steps"])


def loss(draft: Draft, values: dict[str, Any]) -> None:
    if "completion_only_loss" in values:
        draft.put(("completion_only_loss",), "trainer.completion_only_loss", values["completion_only_loss"])
    for key in ("bf16", "fp16"):
        if key in values:
            draft.put((key,), f"trainer.{key}", values[key])
    if not (values.get("fp16") or values.get("bf16") is False):
        draft.default("trainer.bf16", True)


def hands_on(draft: Draft, values: dict[str, Any]) -> None:
    for key in EXTRA & set(values):
        draft.put((key,), f"trainer.extra.{key}", values[key])


def _checkpointing(draft: Draft, at: Path, value: Any) -> None:
    draft.put(at, "trainer.gradient_checkpointing", bool(value))


KEYS: dict[str, shared.Key] = {
    "model_name_or_path": shared.base_model,
    "dtype": shared.dtype,
    "torch_dtype": shared.dtype,
    "attn_implementation": shared.attention,
    "optim": shared.optimizer,
    "lr_scheduler_type": shared.scheduler,
    "output_dir": shared.output_dir,
    "report_to": shared.report_to,
    "gradient_checkpointing": _checkpointing,
}
STEPS: dict[str, shared.Step] = {
    "use_peft": adapter,
    "dataset_name": _rows,
    "save_steps": often,
    "completion_only_loss": loss,
    "adam_beta1": hands_on,
}
# judged with others
TOGETHER = {
    *("use_peft", "lora_target_modules", "load_in_4bit", "load_in_8bit", "datasets", "dataset_name", "dataset_config"),
    *("dataset_train_split", "dataset_test_split", "test_split_size", "eval_strategy", "evaluation_strategy"),
    *("save_strategy", "eval_steps", "save_steps", "warmup_ratio", "warmup_steps", "max_steps", "bf16", "fp16"),
    "completion_only_loss",
}
# SFTConfig's fields that decide the result and have no key of their own
EXTRA = {
    *("adam_beta1", "adam_beta2", "adam_epsilon", "neftune_noise_alpha", "label_smoothing_factor", "data_seed"),
    *("lr_scheduler_kwargs", "optim_args", "optim_target_modules", "dataset_text_field", "truncation_mode"),
    *("average_tokens_across_devices", "train_sampling_strategy", "dataloader_drop_last", "full_determinism"),
}
