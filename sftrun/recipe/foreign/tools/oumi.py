"""Oumi's YAML -> a recipe: its keys by the names of TRL's command line, and what differs."""

from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.draft import Draft
from sftrun.recipe.foreign.tools import trl_cli

_OTHER_TRAINERS = ["DPO", "GRPO", "KTO", "GKD", "GOLD", "VERL"]
# data sets that Oumi has code for: each makes turns of its columns in a way of its own
_OWN_PROMPTS = ("yahma/alpaca-cleaned", "tatsu-lab/alpaca", "PromptResponseDataset", "text_sft")


def carry(draft: Draft, values: dict[str, Any]) -> set[str]:
    """What is no plain renaming.  Answers with the keys that are done."""
    draft.is_lora = bool(values.get("use_peft"))
    return shared.carry(draft, values, KEYS, STEPS) | TOGETHER | trl_cli.TOGETHER | trl_cli.EXTRA


def _adapter(draft: Draft, values: dict[str, Any]) -> None:
    draft.use("use_peft", "q_lora", "q_lora_bits", "bnb_4bit_compute_dtype")
    if draft.is_lora and values.get("lora_target_modules"):
        shared.targets(draft, ("lora_target_modules",), values["lora_target_modules"])
    elif draft.is_lora:
        trl_cli.default_targets(draft, str(values.get("model_name_or_path", "")), ("use_peft",))
    if draft.is_lora and values.get("q_lora"):
        draft.put(("q_lora",), f"quantization.load_in_{values.get('q_lora_bits', 4)}bit", True)
        word = str(values.get("bnb_4bit_compute_dtype", "float32"))
        draft.put(("bnb_4bit_compute_dtype",), "quantization.bnb_4bit_compute_dtype", shared.DTYPES.get(word, word))


def _rows(draft: Draft, values: dict[str, Any]) -> None:
    for key, which in (("datasets", "train"), ("eval_datasets", "eval")):
        given = values.get(key) or []
        found = [_source(draft, (key, number), one) for number, one in enumerate(given)]
        draft.use(key)
        shared.sources(draft, (key,), which, found)
    collator = values.get("collator_name")
    if collator == "text_completions_only_with_padding":
        draft.set("trainer.assistant_only_loss", True, "collator_name")
    elif collator in (None, "text_with_padding"):
        draft.set("trainer.assistant_only_loss", False, "collator_name")
    elif "vision" in str(collator):
        draft.refuse(("collator_name",), collator, "images have no form here; a recipe learns text")


def _source(draft: Draft, at: Path, one: dict[str, Any]) -> dict[str, Any]:
    name, path = str(one.get("dataset_name", "")), one.get("dataset_path")
    options = one.get("dataset_kwargs") or {}
    if name in _OWN_PROMPTS and not options.get("return_conversations"):
        draft.differ((*at, "dataset_name"), name, "Oumi makes turns of its columns in a way of its own")
    if options:
        draft.differ((*at, "dataset_kwargs"), options, "arguments of Oumi's own class for the data set")
    source: dict[str, Any] = {"path": path} if path else {"hub": name}
    for theirs, ours in (("subset", "config"), ("split", "split")):
        if one.get(theirs) and not path:
            source[ours] = one[theirs]
    for theirs, ours in (("sample_count", "max_examples"), ("mixture_proportion", "weight")):
        if one.get(theirs) is not None:
            shared.source_key(draft, (*at, theirs), source, ours, one[theirs])
    return source


def _precision(draft: Draft, values: dict[str, Any]) -> None:
    word = str(values.get("mixed_precision_dtype", "NONE")).lower()
    draft.use("mixed_precision_dtype")
    if word in ("bf16", "fp16"):
        draft.values[f"trainer.{word}"] = True


def _often(draft: Draft, values: dict[str, Any]) -> None:
    steps = {} if values.get("save_epoch") or values.get("save_steps") else {"save_steps": None}
    named = {**values, "save_strategy": "epoch"} if values.get("save_epoch") else values
    draft.use("save_epoch", "save_steps")
    trl_cli.often(draft, {**named, **steps})


def _trainer(draft: Draft, at: Path, value: Any) -> None:
    draft.use("trainer_type")
    if any(word in str(value) for word in _OTHER_TRAINERS):
        draft.refuse(at, value, "it is no supervised fine-tuning")


def _tracker(draft: Draft, at: Path, value: Any) -> None:
    if value:
        name = str(at[0]).removeprefix("enable_")
        draft.values["trainer.report_to"] = sorted({*draft.values.get("trainer.report_to", ()), name})


def _init(draft: Draft, at: Path, value: Any) -> None:
    word = str(value).lower()
    draft.put(at, "lora.init_lora_weights", {"default": True, "random": False}.get(word, word))


def _template(draft: Draft, at: Path, value: Any) -> None:
    draft.differ(at, value, "Oumi's template of that name does not ship; save one as a file beside the recipe")


KEYS: dict[str, shared.Key] = trl_cli.KEYS | {
    "trainer_type": _trainer,
    "enable_wandb": _tracker,
    "enable_mlflow": _tracker,
    "lora_init_weights": _init,
    "chat_template": _template,
}
STEPS: dict[str, shared.Step] = {
    "use_peft": _adapter,
    "datasets": _rows,
    "save_steps": _often,
    "mixed_precision_dtype": _precision,
    "adam_beta1": trl_cli.hands_on,
}
# judged with others
TOGETHER = {
    *("q_lora", "q_lora_bits", "bnb_4bit_compute_dtype", "eval_datasets", "collator_name", "save_epoch"),
    "mixed_precision_dtype",
}
