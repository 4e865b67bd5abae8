"""Soup's YAML -> a recipe: its keys by the names of TRL's command line, and what differs."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.draft import Draft
from sftrun.recipe.foreign.tools import trl_cli

_ENGINES = {"transformers": "trl", "unsloth": "unsloth"}
_FORMS = {"sharegpt": "messages", "chatml": "messages", "tool-calling": "messages", "plaintext": "text", "auto": "auto"}


def carry(draft: Draft, values: dict[str, Any]) -> set[str]:
    """What is no plain renaming.  Answers with the keys that are done."""
    draft.is_lora = not values.get("training.full_finetuning")
    return shared.carry(draft, values, KEYS, STEPS) | TOGETHER | trl_cli.TOGETHER | trl_cli.EXTRA


def _bits(draft: Draft, values: dict[str, Any]) -> None:
    word = values.get("training.quantization", "4bit")
    draft.use("training.quantization")
    if word in ("4bit", "8bit"):
        draft.put(("training.quantization",), f"quantization.load_in_{word}", True)
    elif word != "none":
        draft.differ(("training.quantization",), word, "4 or 8 bits by bitsandbytes, or none")
    modules = values.get("lora_target_modules", "auto")
    draft.use("lora_target_modules")
    if modules == "auto":
        trl_cli.default_targets(draft, str(values.get("model_name_or_path", "")), ("lora_target_modules",))
    else:
        shared.targets(draft, ("lora_target_modules",), modules)
    if values.get("per_device_train_batch_size") in (None, "auto"):
        draft.todo["trainer.per_device_train_batch_size"] = "Soup chooses it by the GPU's memory"
        draft.set("trainer.per_device_train_batch_size", 4, "per_device_train_batch_size")
    else:
        at = ("per_device_train_batch_size",)
        draft.put(at, "trainer.per_device_train_batch_size", values["per_device_train_batch_size"])


def _rows(draft: Draft, values: dict[str, Any]) -> None:
    given, form = values.get("data.train"), values.get("data.format", "auto")
    paths = given if isinstance(given, list) else [given]
    draft.use("data.train", "data.format")
    shared.sources(draft, ("data.train",), "train", [_source(str(path)) for path in paths if path])
    if form == "alpaca":
        draft.values |= {"dataset.format": "instruction", "dataset.instruction_template": "chat"}
        draft.values["trainer.completion_only_loss"] = False
    elif form in _FORMS:
        draft.values |= {"dataset.format": _FORMS[form], "trainer.assistant_only_loss": False}
    else:
        draft.refuse(("data.format",), form, "rows of that form are not for supervised fine-tuning of text")


def _source(path: str) -> dict[str, Any]:
    return {"path": path} if shared.is_file(path) else {"hub": path, "split": "train"}


def _task(draft: Draft, at: Path, value: Any) -> None:
    draft.use("task")
    if value != "sft":
        draft.refuse(at, value, "it is no supervised fine-tuning")


def _modality(draft: Draft, at: Path, value: Any) -> None:
    draft.use("modality")
    if value != "text":
        draft.refuse(at, value, "images and sound have no form here; a recipe learns text")


def _backend(draft: Draft, at: Path, value: Any) -> None:
    draft.use("backend")
    engine = _ENGINES.get(str(value))
    if engine is None:
        draft.differ(at, value, "TRL or Unsloth train")
    else:
        draft.values["trainer.engine"] = engine


def _init(draft: Draft, at: Path, value: Any) -> None:
    draft.put(at, "lora.init_lora_weights", True if value == "random" else value)


def _template(draft: Draft, at: Path, value: Any) -> None:
    draft.differ(at, value, "save the template as a file beside the recipe, and name it in `dataset.chat_template`")


KEYS: dict[str, shared.Key] = trl_cli.KEYS | {
    "task": _task,
    "modality": _modality,
    "backend": _backend,
    "lora_init": _init,
    "chat_template": _template,
    "val_size": shared.eval_share,
}
STEPS: dict[str, shared.Step] = {
    "training.quantization": _bits,
    "data.train": _rows,
    "save_steps": trl_cli.often,
    "bf16": trl_cli.loss,
    "adam_beta1": trl_cli.hands_on,
}
# judged with others
TOGETHER = {
    *("training.quantization", "data.train", "data.format", "lora_target_modules", "per_device_train_batch_size"),
    "training.full_finetuning",
}
