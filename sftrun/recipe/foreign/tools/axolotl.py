"""axolotl's YAML -> a recipe."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.draft import Draft
from sftrun.recipe.foreign.tools import axolotl_data

_ALL_SAME = ("Liger", "CutCrossEntropy", "Kernels", "ExpertParallel", "LMEval", "SwanLab", "SageAttention")
_TEXT_MODELS = ("CausalLM", "AutoTokenizer")


def carry(draft: Draft, values: dict[str, Any]) -> set[str]:
    """What is no plain renaming.  Answers with the keys that are done."""
    return shared.carry(draft, values, _KEYS, _STEPS) | _TOGETHER


def _adapter(draft: Draft, values: dict[str, Any]) -> None:
    adapter = values.get("adapter")
    if adapter in ("lora", "qlora"):
        draft.is_lora = True
        draft.use("adapter")
        for bits in ("load_in_4bit", "load_in_8bit"):
            if values.get(bits):
                draft.put((bits,), f"quantization.{bits}", True)
        _targets(draft, values)
        _quantisation(draft, values)
    elif adapter:
        draft.refuse(("adapter",), adapter, "of adapters, LoRA and QLoRA are known")
    for key in ("lora_target_modules", "lora_target_linear", "lora_target_parameters"):
        if not adapter and values.get(key):
            draft.same((key,), values[key], "no adapter is trained")


def _targets(draft: Draft, values: dict[str, Any]) -> None:
    modules, parameters = values.get("lora_target_modules"), values.get("lora_target_parameters")
    if values.get("lora_target_linear"):
        draft.put(("lora_target_linear",), "lora.target_modules", "all-linear")
        if modules:
            draft.same(("lora_target_modules",), modules, "lora_target_linear reaches them too")
    elif modules:
        shared.targets(draft, ("lora_target_modules",), modules)
    elif not parameters:
        draft.differ(("adapter",), values.get("adapter"), "no lora_target_modules and no lora_target_linear")
    if parameters:
        names = [parameters] if isinstance(parameters, str) else parameters
        draft.put(("lora_target_parameters",), "lora.target_parameters", names)


def _quantisation(draft: Draft, values: dict[str, Any]) -> None:
    for key, value in (values.get("bnb_config_kwargs") or {}).items():
        draft.put(("bnb_config_kwargs", key), f"quantization.{key}", value)


def _precision(draft: Draft, values: dict[str, Any]) -> None:
    draft.use("bf16", "fp16", "bfloat16", "float16", "torch_dtype")
    half, word = values.get("fp16") or values.get("float16"), values.get("bf16", "auto")
    if values.get("bfloat16") or (word and not (word == "auto" and half)):
        draft.values |= {"model.dtype": "bfloat16", "trainer.bf16": True}
    elif half:
        draft.values |= {"model.dtype": "float16", "trainer.fp16": True}
    else:
        draft.values |= {"model.dtype": "float16" if values.get("load_in_8bit") else "float32"}


def _often(draft: Draft, values: dict[str, Any]) -> None:
    epochs = values.get("num_epochs", 1)
    if values.get("max_steps"):
        draft.put(("max_steps",), "trainer.max_steps", values["max_steps"])
    for kind in ("eval", "save"):
        strategy, steps = values.get(f"{kind}_strategy"), values.get(f"{kind}_steps")
        per_epoch = values.get(f"{kind}s_per_epoch")
        if kind == "eval" and not (values.get("val_set_size") or values.get("test_datasets")):
            _without_rows(draft, values)
        elif per_epoch:
            draft.put((f"{kind}s_per_epoch",), f"trainer.{kind}s_per_epoch", per_epoch)
        elif strategy in ("no", False, "best"):
            draft.same((f"{kind}_strategy",), strategy, "checkpoints and evaluations do not change what is learnt")
        else:
            shared.how_often(draft, kind, strategy, (f"{kind}_steps",), steps, epochs)
            if kind == "save" and not steps and strategy in (None, "epoch"):
                draft.default("trainer.saves_per_epoch", 1)
    if "warmup_steps" not in values and "warmup_ratio" in values:
        shared.warmup(draft, ("warmup_ratio",), values["warmup_ratio"])
    elif values.get("warmup_steps") is not None:
        if "warmup_ratio" in values:
            draft.same(("warmup_ratio",), values["warmup_ratio"], "warmup_steps decides")
        shared.warmup(draft, ("warmup_steps",), values["warmup_steps"])


def _without_rows(draft: Draft, values: dict[str, Any]) -> None:
    keys = ("evals_per_epoch", "eval_steps", "eval_strategy", "evaluation_strategy", "eval_batch_size")
    for key in keys:
        if values.get(key):
            draft.same((key,), values[key], "no rows to evaluate on")


def _remark(draft: Draft, values: dict[str, Any]) -> None:
    if values.get("excess_length_strategy") != "truncate":
        draft.remarks.append(
            "axolotl leaves rows longer than max_length out; here they are cut, and `validate` counts them"
        )
    if values.get("chat_template") and "chat_template" not in draft.used:
        draft.same(("chat_template",), values["chat_template"], "no row goes through it")


def _plugins(draft: Draft, at: Path, value: Any) -> None:
    for number, plugin in enumerate(value if isinstance(value, list) else [value]):
        name = str(plugin).rpartition(".")[2].removesuffix("Plugin")
        if name == "KD":
            draft.refuse((*at, number), plugin, "distillation needs a teacher")
        elif name in _ALL_SAME:
            draft.same((*at, number), plugin, "it changes how a step is computed or shown, not what is learnt")
        else:
            draft.differ((*at, number), plugin, "what this plugin does has no key")


def _model_type(draft: Draft, at: Path, value: Any) -> None:
    if str(value).endswith(("CausalLM", "ForConditionalGeneration", "LMHeadModel")) or value == "AutoModel":
        draft.same(at, value, "it follows from the model")
    else:
        draft.refuse(at, value, "a recipe fine-tunes causal language models")


def _special(draft: Draft, at: Path, value: Any) -> None:
    for name, token in value.items() if isinstance(value, dict) else ():
        if name in ("pad_token", "eos_token"):
            draft.put((*at, name), f"dataset.{name}", token)
        elif name == "unk_token" or token in ("<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<|endoftext|>"):
            draft.same((*at, name), token, "the tokenizer's own is used")
        elif token is not None:
            draft.differ((*at, name), token, "the tokenizer's own is used")


def _tokens(draft: Draft, at: Path, value: Any) -> None:
    if isinstance(value, dict):
        _special(draft, at, value)
    else:
        draft.put(at, "dataset.add_tokens", value)


def _checkpointing(draft: Draft, at: Path, value: Any) -> None:
    draft.values["trainer.gradient_checkpointing"] = bool(value)


def _attention(name: str) -> shared.Key:
    def put(draft: Draft, at: Path, value: Any) -> None:
        if value is True:
            shared.attention(draft, at, name)

    return put


def _tracker(draft: Draft, at: Path, value: Any) -> None:
    name = {"wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio", "use": "tensorboard"}[str(at[0]).split("_")[0]]
    if value and not (at[0] == "use_tensorboard" and value is not True):
        draft.values["trainer.report_to"] = sorted({*draft.values.get("trainer.report_to", ()), name})
        if name == "wandb":
            draft.values[f"compute.image.env.{str(at[0]).upper()}"] = str(value)
        elif name != "tensorboard":
            draft.same(at, value, "runs are named by the recipe")


_KEYS: dict[str, shared.Key] = {
    "base_model": shared.base_model,
    "plugins": _plugins,
    "model_type": _model_type,
    "type_of_model": _model_type,
    "special_tokens": _special,
    "tokens": _tokens,
    "gradient_checkpointing": _checkpointing,
    "attn_implementation": shared.attention,
    "flash_attention": _attention("flash_attention_2"),
    "sdp_attention": _attention("sdpa"),
    "eager_attention": _attention("eager"),
    "flex_attention": _attention("flex_attention"),
    "xformers_attention": _attention("xformers"),
    "optimizer": shared.optimizer,
    "lr_scheduler": shared.scheduler,
    "output_dir": shared.output_dir,
    "val_set_size": shared.eval_share,
    "wandb_project": _tracker,
    "wandb_entity": _tracker,
    "trackio_project_name": _tracker,
    "mlflow_tracking_uri": _tracker,
    "mlflow_experiment_name": _tracker,
    "use_tensorboard": _tracker,
}
_STEPS: dict[str, shared.Step] = {
    "adapter": _adapter,
    "bf16": _precision,
    "save_steps": _often,
    "datasets": axolotl_data.carry,
    "chat_template": _remark,
}
# judged with others
_TOGETHER = {
    *("adapter", "load_in_4bit", "load_in_8bit", "lora_target_modules", "lora_target_linear", "lora_target_parameters"),
    *("bf16", "fp16", "bfloat16", "float16", "bnb_config_kwargs", "torch_dtype"),
    *("evals_per_epoch", "saves_per_epoch", "eval_steps", "save_steps", "eval_strategy", "save_strategy"),
    *("evaluation_strategy", "warmup_steps", "warmup_ratio", "max_steps"),
    *("datasets", "test_datasets", "train_on_inputs", "chat_template", "chat_template_jinja"),
}
