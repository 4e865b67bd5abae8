"""LLaMA-Factory's YAML -> a recipe."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.chat_templates import NAMES
from sftrun.recipe.foreign.draft import Draft

_STAGES = {
    "pt": "pre-training",
    "rm": "a reward model",
    "ppo": "reinforcement learning",
    "dpo": "preference learning",
    "kto": "preference learning",
}


def carry(draft: Draft, values: dict[str, Any]) -> set[str]:
    """What is no plain renaming.  Answers with the keys that are done."""
    draft.is_lora = values.get("finetuning_type", "lora") == "lora"
    return shared.carry(draft, values, _KEYS, _STEPS) | _TOGETHER


def _trains(draft: Draft, values: dict[str, Any]) -> None:
    if not values.get("do_train", True) or (
        "do_train" not in values and ("do_predict" in values or "dataset" not in values)
    ):
        draft.refuse(("do_train",), values.get("do_train"), "a recipe trains")


def _lora(draft: Draft, values: dict[str, Any]) -> None:
    rank = values.get("lora_rank", draft.table.defaults["lora.r"])
    if draft.is_lora and isinstance(rank, int):
        draft.values.setdefault("lora.r", rank)
        if "lora_rank" not in values:
            draft.defaults.add("lora.r")
        if "lora_alpha" not in values:
            draft.default("lora.lora_alpha", 2 * rank)
    if values.get("pissa_init"):
        draft.use("pissa_iter")
        rounds = values.get("pissa_iter", 16)
        draft.put(("pissa_init",), "lora.init_lora_weights", f"pissa_niter_{rounds}" if rounds != -1 else "pissa")


def _precision(draft: Draft, values: dict[str, Any]) -> None:
    for key in ("bf16", "fp16"):
        if key in values:
            draft.put((key,), f"trainer.{key}", values[key])
    draft.use(*(["pure_bf16"] if values.get("pure_bf16") else []))
    if values.get("pure_bf16"):
        draft.values |= {"model.dtype": "bfloat16", "trainer.bf16": True}
    elif draft.is_lora:
        draft.values["model.dtype"] = "float16" if values.get("fp16") else "bfloat16"
    else:
        # all that is trained is kept in 32 bits, unless pure_bf16 is asked for
        draft.values["model.dtype"] = "float32"


def _data(draft: Draft, values: dict[str, Any]) -> None:
    for key, which in (("dataset", "train"), ("eval_dataset", "eval")):
        names = values.get(key) or []
        names = names.split(",") if isinstance(names, str) else names
        found = [_source(draft, (key,), str(name).strip(), values) for name in names]
        shared.sources(draft, (key,), which, found)
        if found:
            draft.todo[f"dataset.{which}"] = f"the files that dataset_info.json names for {flat(values[key])}"
    draft.use("dataset", "eval_dataset", "max_samples", "train_on_prompt")
    draft.values["dataset.format"] = "auto"
    draft.values["dataset.instruction_template"] = "chat"
    on_prompt = bool(values.get("train_on_prompt"))
    draft.values["trainer.assistant_only_loss"] = False if on_prompt else "auto"
    if values.get("neat_packing"):
        draft.set("trainer.packing", True, "packing", "neat_packing")
    elif values.get("packing"):
        draft.differ(("packing",), True, "rows that share a sequence see each other there; say neat_packing")


def _source(draft: Draft, at: Path, name: str, values: dict[str, Any]) -> dict[str, Any]:
    if "mllm" in name or "video" in name or "audio" in name:
        draft.refuse(at, name, "images and sound have no form here; a recipe learns text")
    folder = str(values.get("dataset_dir", "data")).rstrip("/")
    source: dict[str, Any] = {"path": f"{folder if ':' not in folder else 'data'}/{name}.json"}
    if values.get("max_samples"):
        shared.source_key(draft, ("max_samples",), source, "max_examples", values["max_samples"])
    return source


def flat(names: Any) -> str:
    """Several names as one text."""
    return names if isinstance(names, str) else ", ".join(map(str, names))


def _often(draft: Draft, values: dict[str, Any]) -> None:
    for kind in ("eval", "save"):
        strategy = values.get(
            f"{kind}_strategy", values.get("evaluation_strategy", "no") if kind == "eval" else "steps"
        )
        if kind == "eval" and strategy in ("no", False) and "eval_steps" in values:
            draft.same(("eval_steps",), values["eval_steps"], "eval_strategy is no")
        elif strategy in ("no", False) and f"{kind}_strategy" not in values:
            pass
        elif strategy in ("no", False):
            draft.same((f"{kind}_strategy",), strategy, "checkpoints and evaluations do not change what is learnt")
        else:
            at = (f"{kind}_strategy",) if strategy == "epoch" else (f"{kind}_steps",)
            shared.how_often(draft, kind, strategy, at, values.get(f"{kind}_steps"), values.get("num_train_epochs", 3))
    for key in ("warmup_ratio", "warmup_steps"):
        if values.get(key):
            shared.warmup(draft, (key,), values[key])
    steps = values.get("max_steps")
    if isinstance(steps, int) and steps > 0:
        draft.put(("max_steps",), "trainer.max_steps", steps)


def _stage(draft: Draft, at: Path, value: Any) -> None:
    draft.use("stage")
    if value != "sft":
        draft.refuse(at, value, f"{_STAGES.get(str(value), 'another stage')} is no supervised fine-tuning")


def _method(draft: Draft, at: Path, value: Any) -> None:
    draft.use("finetuning_type")
    if value not in ("lora", "full"):
        draft.refuse(at, value, "a recipe trains LoRA adapters, or all weights")


def _bits(draft: Draft, at: Path, value: Any) -> None:
    if value in (4, 8):
        draft.put(at, f"quantization.load_in_{value}bit", True)
    else:
        draft.differ(at, value, "4 or 8 bits")


def _method_of_bits(draft: Draft, at: Path, value: Any) -> None:
    if value in ("bnb", "bitsandbytes"):
        draft.same(at, value, "bitsandbytes quantises")
    else:
        draft.differ(at, value, "bitsandbytes alone quantises")


def _quantised(key: str) -> shared.Key:
    def put(draft: Draft, at: Path, value: Any) -> None:
        draft.put(at, f"quantization.{key}", value)

    return put


def _names(draft: Draft, at: Path, value: Any) -> None:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    shared.targets(draft, at, names)


def _saved(draft: Draft, at: Path, value: Any) -> None:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    draft.put(at, "lora.modules_to_save", names)


def _template(draft: Draft, at: Path, value: Any) -> None:
    if str(value) in NAMES["llama_factory"]:
        draft.put(at, "dataset.chat_template", NAMES["llama_factory"][str(value)])
    else:
        draft.differ(at, value, "its template of that name does not ship; save one as a file beside the recipe")


def _no_checkpointing(draft: Draft, at: Path, value: Any) -> None:
    draft.values["trainer.gradient_checkpointing"] = value is not True


def _unsloth(draft: Draft, at: Path, value: Any) -> None:
    if value is True:
        draft.put(at, "trainer.engine", "unsloth")


def _nothing(draft: Draft, at: Path, value: Any) -> None:
    if value:
        draft.same(at, value, "data is found by its own path")


_KEYS: dict[str, shared.Key] = {
    "model_name_or_path": shared.base_model,
    "stage": _stage,
    "finetuning_type": _method,
    "quantization_bit": _bits,
    "quantization_method": _method_of_bits,
    "quantization_type": _quantised("bnb_4bit_quant_type"),
    "double_quantization": _quantised("bnb_4bit_use_double_quant"),
    "lora_target": _names,
    "additional_target": _saved,
    "template": _template,
    "disable_gradient_checkpointing": _no_checkpointing,
    "use_unsloth": _unsloth,
    "flash_attn": shared.attention,
    "optim": shared.optimizer,
    "lr_scheduler_type": shared.scheduler,
    "output_dir": shared.output_dir,
    "report_to": shared.report_to,
    "val_size": shared.eval_share,
    "dataset_dir": _nothing,
}
_STEPS: dict[str, shared.Step] = {
    "do_train": _trains,
    "bf16": _precision,
    "dataset": _data,
    "save_steps": _often,
    "lora_rank": _lora,
}
# judged with others
_TOGETHER = {
    *("bf16", "fp16", "pure_bf16", "dataset", "eval_dataset", "max_samples", "train_on_prompt", "packing"),
    *("neat_packing", "eval_strategy", "evaluation_strategy", "save_strategy", "eval_steps", "save_steps"),
    *("warmup_ratio", "warmup_steps", "max_steps", "pissa_init", "pissa_iter"),
}
