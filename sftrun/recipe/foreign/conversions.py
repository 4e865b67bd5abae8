"""Values of another tool's keys that are no plain renaming: one small function each, and the table of them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sftrun.recipe.read.nodes import is_bool_word, resolve


@dataclass
class Draft:
    """A recipe in the making: dotted keys with their values, and what could not be carried over."""

    tool: str
    values: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    todo: dict[str, str] = field(default_factory=dict)

    def lose(self, key: str, value: object, why: str) -> None:
        self.lost.append(f"{key}: {flow(value)}" + (f" ({why})" if why else ""))


def flow(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A scalar as YAML writes it, quoted where it must be."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./+@ -]*", text) and not text.endswith(" ") and " #" not in text
    if plain and isinstance(resolve(text), str) and not is_bool_word(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def _base_model(draft: Draft, key: str, value: Any) -> None:
    draft.values["model.name_or_path"] = str(value)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", str(value).rpartition("/")[2]).strip("-._").lower()
    draft.values.setdefault("name", f"{name or 'imported'}-sft"[:63])


def _adapter(draft: Draft, key: str, value: Any) -> None:
    if value in ("lora", "qlora"):
        draft.values.setdefault("lora.r", 16)
    elif value not in ("full", "none", False):
        draft.lose(key, value, "only LoRA, QLoRA and full fine-tuning")


def _use_peft(draft: Draft, key: str, value: Any) -> None:
    if value is True:
        draft.values.setdefault("lora.r", 16)


def _linear(draft: Draft, key: str, value: Any) -> None:
    if value is True:
        draft.values["lora.target_modules"] = "all-linear"


def _targets(draft: Draft, key: str, value: Any) -> None:
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    is_all = names in (["all"], ["all-linear"])
    draft.values["lora.target_modules"] = "all-linear" if is_all else names


def _names(target: str) -> Callable[[Draft, str, Any], None]:
    def carry(draft: Draft, key: str, value: Any) -> None:
        draft.values[target] = [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    return carry


def _bits(draft: Draft, key: str, value: Any) -> None:
    if value in (4, 8):
        draft.values[f"quantization.load_in_{value}bit"] = True
    else:
        draft.lose(key, value, "4 or 8 bits")


def _is_true(target: str) -> Callable[[Draft, str, Any], None]:
    def carry(draft: Draft, key: str, value: Any) -> None:
        if value is True:
            draft.values[target] = True

    return carry


def _precision(draft: Draft, key: str, value: Any) -> None:
    if isinstance(value, bool):
        draft.values[f"trainer.{key}"] = value


def _dtype(draft: Draft, key: str, value: Any) -> None:
    long = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}.get(str(value), str(value))
    if long in ("bfloat16", "float16", "float32"):
        draft.values["model.dtype"] = long
    elif value != "auto":
        draft.lose(key, value, "bfloat16, float16 or float32")


def _attention(name: str) -> Callable[[Draft, str, Any], None]:
    def carry(draft: Draft, key: str, value: Any) -> None:
        if value is True:
            draft.values["model.attn_implementation"] = name

    return carry


def _flash(draft: Draft, key: str, value: Any) -> None:
    names = {"fa2": "flash_attention_2", "fa3": "flash_attention_3", "sdpa": "sdpa", "disabled": "eager"}
    if value in names or value in names.values():
        draft.values["model.attn_implementation"] = names.get(value, value)
    elif value != "auto":
        draft.lose(key, value, "sdpa, eager, flash_attention_2, flash_attention_3 or varlen")


def _on_inputs(draft: Draft, key: str, value: Any) -> None:
    if isinstance(value, bool):
        draft.values["trainer.completion_only_loss"] = not value


def _fraction(draft: Draft, key: str, value: Any) -> None:
    if isinstance(value, int | float) and 0 < value < 1:
        draft.values["dataset.eval_fraction"] = value
    elif value != 0:
        draft.lose(key, value, "a share of the rows, above 0 and below 1")


def _seldom(draft: Draft, key: str, value: Any) -> None:
    if value not in ("no", "steps", False):
        draft.lose(key, value, "say how often by steps")


def _datasets(draft: Draft, key: str, value: Any) -> None:
    """axolotl's list: the first is carried over, the others are named."""
    rows = value if isinstance(value, list) else [value]
    first = rows[0] if rows and isinstance(rows[0], dict) else {"path": str(rows[0]) if rows else "TODO"}
    which = "train" if key == "datasets" else "eval"
    kinds = {"alpaca": "instruction", "chat_template": "messages", "sharegpt": "messages", "completion": "text"}
    kind = str(first.pop("type", ""))
    if kind.partition(".")[0] in kinds and which == "train":
        draft.values["dataset.format"] = kinds[kind.partition(".")[0]]
    elif kind and which == "train":
        draft.lose(f"{key}[0].type", kind, "see `dataset.format`")
    path = str(first.pop("data_files", None) or first.get("path") or "TODO")
    is_file = path.endswith((".json", ".jsonl", ".csv", ".parquet")) or path.startswith((".", "/"))
    draft.values[f"dataset.{which}.{'path' if is_file else 'hub'}"] = path
    for name, ours in (("split", "split"), ("name", "config"), ("revision", "revision")):
        if first.get(name) and not is_file:
            draft.values[f"dataset.{which}.{ours}"] = first.pop(name)
    for name, rest in first.items():
        if name not in ("path", "ds_type"):
            draft.lose(f"{key}[0].{name}", rest, "")
    for number, other in enumerate(rows[1:], 1):
        draft.lose(f"{key}[{number}]", other, "one source here; join the files, or use a glob")


def _dataset_names(draft: Draft, key: str, value: Any) -> None:
    """LLaMA-Factory's names of its dataset_info.json."""
    which = "train" if key == "dataset" else "eval"
    name = str(value).split(",")[0].strip()
    draft.values[f"dataset.{which}.path"] = f"data/{name}.json"
    draft.todo[f"dataset.{which}.path"] = f"the file that dataset_info.json names for {value}"


def _output(draft: Draft, key: str, value: Any) -> None:
    inside = "/".join(part for part in str(value).split("/") if part not in ("", ".", "..")).removeprefix("outputs/")
    draft.values["output.dir"] = f"/outputs/{inside or 'adapter'}"


def _report(draft: Draft, key: str, value: Any) -> None:
    names = [value] if isinstance(value, str) else value
    known = [name for name in names if name in ("trackio", "wandb", "mlflow", "tensorboard")]
    draft.values["trainer.report_to"] = known or "none"
    for name in names:
        if name not in known and name not in ("none", "all"):
            draft.lose(key, name, "trackio, wandb, mlflow or tensorboard")


def _wandb(draft: Draft, key: str, value: Any) -> None:
    draft.values["trainer.report_to"] = ["wandb"]
    draft.values[f"compute.image.env.{key.upper()}"] = str(value)


def _checkpointing(draft: Draft, key: str, value: Any) -> None:
    draft.values["trainer.gradient_checkpointing"] = value is not False and value != "no"


def _no_checkpointing(draft: Draft, key: str, value: Any) -> None:
    draft.values["trainer.gradient_checkpointing"] = value is not True


def _ratio(draft: Draft, key: str, value: Any) -> None:
    # transformers 5 takes a fraction for a share
    whole = not isinstance(value, float) or value >= 1
    draft.values["trainer.warmup_steps" if whole else "trainer.warmup_ratio"] = int(value) if whole else value


def _stage(draft: Draft, key: str, value: Any) -> None:
    if value != "sft":
        draft.lose(key, value, "a recipe is supervised fine-tuning")


def _pad(draft: Draft, key: str, value: Any) -> None:
    for name, token in (value if isinstance(value, dict) else {}).items():
        if name in ("pad_token", "eos_token"):
            draft.values[f"trainer.extra.{name}"] = token
        else:
            draft.lose(f"{key}.{name}", token, "")


def _unsloth(draft: Draft, key: str, value: Any) -> None:
    if value is True:
        draft.values["trainer.engine"] = "unsloth"


def _steps(draft: Draft, key: str, value: Any) -> None:
    if isinstance(value, float) and 0 < value < 1:
        draft.lose(key, value, "a number of steps here, not a share of them")
    elif isinstance(value, int | float) and value >= 1:
        draft.values[f"trainer.{key}"] = int(value)


def _most_steps(draft: Draft, key: str, value: Any) -> None:
    if isinstance(value, int) and value > 0:
        draft.values["trainer.max_steps"] = value


SPECIAL: dict[tuple[str, str], Callable[[Draft, str, Any], None]] = {
    ("", "base_model"): _base_model,
    ("", "model_name_or_path"): _base_model,
    ("", "adapter"): _adapter,
    ("", "finetuning_type"): _adapter,
    ("", "use_peft"): _use_peft,
    ("", "lora_target_linear"): _linear,
    ("", "lora_target_modules"): _targets,
    ("", "lora_target"): _targets,
    ("", "lora_modules_to_save"): _names("lora.modules_to_save"),
    ("", "additional_target"): _names("lora.modules_to_save"),
    ("", "quantization_bit"): _bits,
    ("", "load_in_4bit"): _is_true("quantization.load_in_4bit"),
    ("", "load_in_8bit"): _is_true("quantization.load_in_8bit"),
    ("", "bf16"): _precision,
    ("", "fp16"): _precision,
    ("", "torch_dtype"): _dtype,
    ("", "dtype"): _dtype,
    ("", "flash_attention"): _attention("flash_attention_2"),
    ("", "sdp_attention"): _attention("sdpa"),
    ("", "eager_attention"): _attention("eager"),
    ("", "flash_attn"): _flash,
    ("", "attn_implementation"): _flash,
    ("axolotl", "train_on_inputs"): _on_inputs,
    ("", "train_on_prompt"): _on_inputs,
    ("", "val_set_size"): _fraction,
    ("", "val_size"): _fraction,
    ("", "eval_strategy"): _seldom,
    ("", "evaluation_strategy"): _seldom,
    ("", "save_strategy"): _seldom,
    ("", "logging_strategy"): _seldom,
    ("axolotl", "datasets"): _datasets,
    ("axolotl", "test_datasets"): _datasets,
    ("LLaMA-Factory", "dataset"): _dataset_names,
    ("LLaMA-Factory", "eval_dataset"): _dataset_names,
    ("", "output_dir"): _output,
    ("", "report_to"): _report,
    ("", "wandb_project"): _wandb,
    ("", "wandb_entity"): _wandb,
    ("", "gradient_checkpointing"): _checkpointing,
    ("", "disable_gradient_checkpointing"): _no_checkpointing,
    ("", "warmup_steps"): _ratio,
    ("LLaMA-Factory", "stage"): _stage,
    ("", "special_tokens"): _pad,
    ("", "use_unsloth"): _unsloth,
    ("", "eval_steps"): _steps,
    ("", "save_steps"): _steps,
    ("", "logging_steps"): _steps,
    ("", "max_steps"): _most_steps,
}
