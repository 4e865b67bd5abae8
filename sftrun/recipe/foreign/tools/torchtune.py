"""torchtune's YAML -> a recipe: its keys by the names of TRL's command line, and what differs."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.draft import Draft
from sftrun.recipe.foreign.tools import trl_cli

_OPTIMIZERS = {
    "torch.optim.AdamW": "adamw_torch",
    "bitsandbytes.optim.PagedAdamW8bit": "paged_adamw_8bit",
    "bitsandbytes.optim.PagedAdamW": "paged_adamw_32bit",
    "bitsandbytes.optim.AdamW8bit": "adamw_8bit",
}
_SCHEDULES = {"get_cosine_schedule_with_warmup": "cosine", "get_linear_schedule_with_warmup": "linear"}
_MODULES = {"output_proj": "o_proj"}
_MLP = ["gate_proj", "up_proj", "down_proj"]


def carry(draft: Draft, values: dict[str, Any]) -> set[str]:
    """What is no plain renaming.  Answers with the keys that are done."""
    component = str(values.get("model._component_", "")).rpartition(".")[2]
    draft.is_lora = component.startswith(("lora_", "qlora_"))
    return shared.carry(draft, values, KEYS, STEPS) | TOGETHER | trl_cli.TOGETHER | trl_cli.EXTRA


def _model(draft: Draft, values: dict[str, Any]) -> None:
    folder = str(values.get("checkpointer.checkpoint_dir", "")).rstrip("/")
    shared.base_model(draft, ("checkpointer.checkpoint_dir",), folder.rpartition("/")[2] or "model")
    draft.todo["model.name_or_path"] = "the Hub id, or the folder, of these weights"
    component = str(values.get("model._component_", ""))
    draft.use("model._component_", "dtype")
    if "vision" in component:
        draft.refuse(("model._component_",), component, "images have no form here; a recipe learns text")
    if ".qlora_" in component or values.get("model.quantize_base"):
        draft.put(("model._component_",), "quantization.load_in_4bit", True)
        draft.use("model.quantize_base")
    draft.put(("dtype",), "model.dtype", shared.DTYPES.get(str(values.get("dtype", "bf16")), "bfloat16"))


def _targets(draft: Draft, values: dict[str, Any]) -> None:
    names = [_MODULES.get(name, name) for name in values.get("model.lora_attn_modules") or []]
    names += _MLP if values.get("model.apply_lora_to_mlp") else []
    draft.use("model.lora_attn_modules", "model.apply_lora_to_mlp")
    if draft.is_lora and names:
        draft.put(("model.lora_attn_modules",), "lora.target_modules", names)
    if values.get("model.apply_lora_to_output"):
        draft.differ(("model.apply_lora_to_output",), True, "the head gets no adapter by that key")


def _rows(draft: Draft, values: dict[str, Any]) -> None:
    component = str(values.get("dataset._component_", "")).rpartition(".")[2]
    source, path = values.get("dataset.source"), values.get("dataset.data_files")
    at: Path = ("dataset._component_",)
    draft.use("dataset._component_", "dataset.source", "dataset.data_files", "dataset.split", "dataset.train_on_input")
    split = {"split": values["dataset.split"]} if values.get("dataset.split") else {"split": "train"}
    draft.values["dataset.train"] = {"path": path} if path else {"hub": source or "TODO/the-data", **split}
    if component == "chat_dataset":
        draft.values["dataset.format"] = "messages"
        draft.values["trainer.assistant_only_loss"] = not values.get("dataset.train_on_input", False)
    elif component == "text_completion_dataset":
        draft.values["dataset.format"] = "text"
    elif any(word in component for word in ("preference", "paired", "multimodal", "gsm8k")):
        draft.refuse(at, component, "rows of that form are not for supervised fine-tuning of text")
    else:
        draft.differ(at, component, "torchtune fills columns into a prompt, and that into the chat template")
    if "shuffle" in values:
        draft.set("dataset.shuffle", bool(values["shuffle"]), "shuffle")


def _optimizer(draft: Draft, at: Path, value: Any) -> None:
    name = _OPTIMIZERS.get(str(value))
    if name is None:
        draft.differ(at, value, "no optimiser of transformers")
    else:
        draft.put(at, "trainer.optim", name)


def _schedule(draft: Draft, at: Path, value: Any) -> None:
    name = _SCHEDULES.get(str(value).rpartition(".")[2])
    if name is None:
        draft.differ(at, value, "no schedule of transformers")
    else:
        draft.put(at, "trainer.lr_scheduler_type", name)


def _seed(draft: Draft, values: dict[str, Any]) -> None:
    if values.get("seed") is not None:
        draft.put(("seed",), "trainer.seed", values["seed"])
    if values.get("warmup_steps"):
        draft.put(("warmup_steps",), "trainer.warmup_steps", values["warmup_steps"])
    if "weight_decay" not in values and values.get("optimizer._component_") == "torch.optim.AdamW":
        draft.default("trainer.weight_decay", 0.01)


KEYS: dict[str, shared.Key] = {
    "output_dir": shared.output_dir,
    "optimizer._component_": _optimizer,
    "lr_scheduler._component_": _schedule,
}
STEPS: dict[str, shared.Step] = {
    "checkpointer.checkpoint_dir": _model,
    "model.lora_attn_modules": _targets,
    "dataset._component_": _rows,
    "seed": _seed,
}
# judged with others
TOGETHER = {
    *("model._component_", "model.quantize_base", "dtype", "model.lora_attn_modules", "model.apply_lora_to_mlp"),
    *("model.apply_lora_to_output", "dataset._component_", "dataset.source", "dataset.data_files", "dataset.split"),
    *("dataset.train_on_input", "shuffle", "seed", "checkpointer.checkpoint_dir"),
}
