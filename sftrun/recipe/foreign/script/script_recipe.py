"""A script's values -> a recipe: as TRL's command line, and what Modal, Unsloth and the rows are besides."""

import ast
from typing import Any

from sftrun.diagnostics import Path
from sftrun.recipe.foreign import shared
from sftrun.recipe.foreign.chat_templates import NAMES
from sftrun.recipe.foreign.draft import Draft
from sftrun.recipe.foreign.script import calls, modal_calls
from sftrun.recipe.foreign.script.follow import Call
from sftrun.recipe.foreign.script.prompts import Prompt, prompt_of
from sftrun.recipe.foreign.script.rows_of_script import Rows, rows_of
from sftrun.recipe.foreign.script.script_file import UNSLOTH, ScriptFile
from sftrun.recipe.foreign.tools import trl_cli
from sftrun.recipe.known import OBJECT_NAME

_FOLLOWING = "what stands here can't be followed; write the value"
# what may be unknown: it is asked for, or changes nothing that is learnt
_ASKED = ("output_dir", "run_name", "report_to", "hub_model_id", "hub_token", "push_to_hub", "callbacks", "logging_dir")


def carry(draft: Draft, file: ScriptFile) -> set[str]:
    """All that a script says.  Answers with the keys that are done."""
    values, script = file.values, file.script
    draft.is_lora = script.first("LoraConfig") is not None or bool(_peft(file))
    given = {key: value for key, value in values.items() if key not in TOGETHER and key != "lora_target_modules"}
    done = shared.carry(
        draft, given | {"use_peft": draft.is_lora}, KEYS, {"save_steps": trl_cli.often, "bf16": trl_cli.loss}
    )
    trl_cli.hands_on(draft, values)
    app = script.first("App", "Stub")
    if app is not None and app.call.positional and OBJECT_NAME.fullmatch(str(app.call.positional[0])):
        draft.values["name"] = app.call.positional[0]
    _engine(draft, file)
    _adapter(draft, file)
    _precision(draft, file)
    _rows(draft, file)
    mounts = modal_calls.carry(draft, file)
    _output(draft, file, mounts)
    for key, text in file.unknown.items():
        (draft.same if key in _ASKED else draft.differ)((key,), text, _FOLLOWING)
    return done | TOGETHER | trl_cli.TOGETHER | trl_cli.EXTRA


def _peft(file: ScriptFile) -> bool:
    found = file.script.first("get_peft_model")
    return found is not None and found.owner in UNSLOTH


def _is_unsloth(file: ScriptFile) -> bool:
    return any(found.owner in UNSLOTH for found in file.script.calls("from_pretrained"))


def _engine(draft: Draft, file: ScriptFile) -> None:
    if not _is_unsloth(file):
        if file.script.first("SFTConfig") is not None:
            draft.default("trainer.gradient_checkpointing", True)
            if "learning_rate" not in file.values:
                draft.default("trainer.learning_rate", 2e-5)
            if "logging_steps" not in file.values:
                draft.default("trainer.logging_steps", 10)
        return
    draft.values["trainer.engine"] = "unsloth"
    if "max_seq_length" not in file.values and "max_length" not in file.values:
        draft.default("trainer.max_length", 2048)
    if "load_in_4bit" not in file.values and not file.values.get("load_in_8bit"):
        draft.default("quantization.load_in_4bit", True)
    for key, value in (("lora.r", 16), ("lora.lora_alpha", 16), ("lora.lora_dropout", 0.0)):
        if draft.is_lora and f"lora_{key.partition('.')[2].removeprefix('lora_')}" not in file.values:
            draft.default(key, value)


def _adapter(draft: Draft, file: ScriptFile) -> None:
    values = file.values
    modules = values.get("lora_target_modules")
    if draft.is_lora and modules:
        shared.targets(draft, ("lora_target_modules",), modules)
    elif draft.is_lora and _is_unsloth(file):
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        of_all = any(found.owner == "FastModel" for found in file.script.calls("get_peft_model"))
        draft.default("lora.target_modules", "all-linear" if of_all else names)
    elif draft.is_lora and "lora_target_modules" not in file.unknown:
        trl_cli.default_targets(draft, str(values.get("model_name_or_path", "")), ("use_peft",))
    for bits in ("load_in_4bit", "load_in_8bit"):
        if values.get(bits):
            draft.put((bits,), f"quantization.{bits}", True)
    seed = values.get("lora_seed")
    if seed is not None:
        draft.same(("lora_seed",), seed, "`trainer.seed` is the seed of the adapters' first values too")
    draft.use("use_gradient_checkpointing")
    if values.get("use_gradient_checkpointing") is not None and "gradient_checkpointing" not in values:
        draft.set(
            "trainer.gradient_checkpointing", bool(values["use_gradient_checkpointing"]), "use_gradient_checkpointing"
        )


def _precision(draft: Draft, file: ScriptFile) -> None:
    draft.default("model.dtype", "bfloat16")
    if draft.has("quantization"):
        given = file.values.get("bnb_4bit_compute_dtype")
        word = "bfloat16" if _is_unsloth(file) and given is None else str(given or "float32").rpartition(".")[2]
        draft.put(("bnb_4bit_compute_dtype",), "quantization.bnb_4bit_compute_dtype", shared.DTYPES.get(word, word))
        if _is_unsloth(file):
            draft.default("quantization.bnb_4bit_quant_type", "nf4")
            draft.default("quantization.bnb_4bit_use_double_quant", True)
    if file.values.get("full_finetuning"):
        draft.drop("quantization")
        draft.use("full_finetuning")


def _rows(draft: Draft, file: ScriptFile) -> None:
    rows = rows_of(file.script)
    for node, what in rows.odd:
        file.add("dataset", "load_dataset", file.script.span(node))
        draft.differ(("dataset",), "load_dataset", f"{what} can't be followed")
    if rows.node is not None:
        file.add("dataset", "load_dataset", file.script.span(rows.node))
        draft.use("dataset")
    prompt = _prompt(draft, file)
    if rows.train is not None:
        _source(draft, rows, prompt)
        draft.values["dataset.train"] = modal_calls.here(file.script, rows.train)
    if rows.eval is not None:
        draft.values["dataset.eval"] = modal_calls.here(file.script, rows.eval)
    elif rows.share is not None:
        shared.eval_share(draft, ("dataset",), rows.share)
    _said(draft, file, prompt)


def _source(draft: Draft, rows: Rows, prompt: Prompt | None) -> None:
    assert rows.train is not None
    if rows.most is not None:
        shared.source_key(draft, ("dataset",), rows.train, "max_examples", rows.most)
    if prompt is not None and prompt.columns:
        shared.source_key(draft, ("dataset",), rows.train, "columns", prompt.columns)


def _prompt(draft: Draft, file: ScriptFile) -> Prompt | None:
    """What makes text of a row: the formatting function, or the first mapped one that can be followed."""
    names = [text for key, text in list(file.unknown.items()) if key == "formatting_func"]
    file.unknown.pop("formatting_func", None)
    mapped = file.script.calls("map")
    given = [one.node.args[0] for one in mapped if one.node.args]
    names += [one.id for one in given if isinstance(one, ast.Name) and one.id not in ("str", "int", "list")]
    found = [prompt for name in dict.fromkeys(names) if (prompt := prompt_of(file.script, name)) is not None]
    if names and not found:
        file.add("prompt", names[0], file.script.span(mapped[0].node if mapped else file.script.module.body[0]))
        why = "how it makes text of a row can't be followed; see `dataset.instruction_template`"
        draft.differ(("prompt",), names[0], why)
    if not found:
        return None
    file.add("prompt", found[0].template or "chat", file.script.span(found[0].node))
    draft.use("prompt")
    return found[0]


def _said(draft: Draft, file: ScriptFile, prompt: Prompt | None) -> None:
    """The form of the rows, and what of them is learnt."""
    collator = file.script.first("DataCollatorForCompletionOnlyLM", "train_on_responses_only")
    named = file.script.first("get_chat_template")
    if named is not None and isinstance(name := named.call.named.get("chat_template"), str):
        _template(draft, file, name, named)
    if prompt is not None and prompt.template == "{text}":
        draft.values["dataset.format"] = "text"
        draft.use("dataset_text_field")
    elif prompt is not None and prompt.template and prompt.template != "?":
        draft.values |= {"dataset.format": "instruction", "dataset.instruction_template": prompt.template}
        draft.values["trainer.completion_only_loss"] = collator is not None
        draft.use("dataset_text_field")
    elif prompt is not None and prompt.template == "?":
        draft.differ(("prompt",), "messages", "turns that are made of columns by hand have no place here")
    elif prompt is not None:
        draft.values |= {"dataset.format": "messages", "trainer.assistant_only_loss": collator is not None}
        draft.use("dataset_text_field")
    elif "completion_only_loss" not in file.values and "assistant_only_loss" not in file.values:
        draft.values["trainer.assistant_only_loss"] = "auto" if collator is not None else False
    if draft.values.get("trainer.extra.dataset_text_field") and prompt is not None:
        draft.drop("trainer.extra.dataset_text_field")


def _template(draft: Draft, file: ScriptFile, name: str, found: calls.Found) -> None:
    file.add("chat_template", name, file.script.span(found.node))
    if name in NAMES["unsloth"]:
        draft.put(("chat_template",), "dataset.chat_template", NAMES["unsloth"][name])
    else:
        draft.differ(("chat_template",), name, "Unsloth's template of that name does not ship; save one as a file")


def _output(draft: Draft, file: ScriptFile, mounts: dict[str, str]) -> None:
    """Where the script saves, below a mount: `save_pretrained`, `save_model`, or output_dir."""
    saved = [
        one.call.positional[0] for one in file.script.calls("save_pretrained", "save_model") if one.call.positional
    ]
    folders = [one for one in (*saved, file.values.get("output_dir")) if isinstance(one, str)]
    draft.use("output_dir")
    below = [one for one in folders if any(one.startswith(mount.rstrip("/") + "/") for mount in mounts)]
    if below:
        draft.values["output.dir"] = below[0]
    elif folders and mounts:
        draft.values["output.dir"] = f"{next(iter(mounts)).rstrip('/')}/{folders[0].rstrip('/').rpartition('/')[2]}"
        draft.todo["output.dir"] = f"the script saves to {folders[0]}, which is below no Volume"
    elif folders:
        shared.output_dir(draft, ("output_dir",), folders[0])


def _nothing(draft: Draft, at: Path, value: Any) -> None:
    draft.use(str(at[0]))


def _full(draft: Draft, at: Path, value: Any) -> None:
    if not value:
        draft.same(at, value, "adapters are trained")


def _optional(draft: Draft, at: Path, value: Any) -> None:
    if isinstance(value, Call):
        draft.same(at, value.name, "it is made by the trainer")


KEYS: dict[str, shared.Key] = {key: one for key, one in trl_cli.KEYS.items() if key != "output_dir"} | {
    "full_finetuning": _full,
    "optimizers": _optional,
}
# judged with others
TOGETHER = {
    *("lora_target_modules", "load_in_4bit", "load_in_8bit", "bnb_4bit_compute_dtype", "lora_seed", "output_dir"),
    *("gpu", "volumes", "secrets", "retries", "memory", "use_gradient_checkpointing", "dataset", "prompt"),
    *("formatting_func", "use_peft", "chat_template", "image_pip"),
}
