"""The recipe's JSON Schema (draft 2020-12), for editors: completion, hover and red lines while one types.

Made from the models and written to `schemas/recipe-v1.schema.json`, which a test keeps in step.  It says what a schema
can say: keys, types, words and bounds; what needs more than one key is `validate`'s.
"""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from sftrun.contract.engines import ENGINES
from sftrun.contract.executors import EXECUTORS
from sftrun.recipe import known
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source

ID = "https://raw.githubusercontent.com/sftrun/sftrun/main/schemas/recipe-v1.schema.json"
_SECTIONS = {"model": "Model", "dataset": "Dataset", "output": "Output"}
_PATH = {"type": "string", "description": "Short for path.", "examples": ["data/train.jsonl"]}
_WORDS: dict[str, str] = {
    "auto": "decided when the plan is made, and shown with its reason",
    "all-linear": "every linear layer but the head",
    "nf4": "normal float, 4 bits",
    "fp4": "float, 4 bits",
    "sdpa": "torch's scaled dot product attention",
    "eager": "plain attention, slow; some models ask for it",
    "flash_attention_2": "Ampere and later",
    "flash_attention_3": "Hopper: H100, H200",
    "varlen": "torch's own variable-length attention",
    "messages": "rows with a list of role and content",
    "prompt_completion": "rows with prompt and completion",
    "instruction": "rows with instruction, input and output (Alpaca)",
    "text": "rows of plain text",
    **{name: engine.about for name, engine in ENGINES.items()},
    **{name: executor.about for name, executor in EXECUTORS.items()},
    "lora_only": "biases of layers with an adapter",
}
# what an editor offers where a section's name is typed; the label stands behind the name
SNIPPETS: dict[str, dict[str, dict[str, Any]]] = {
    "quantization": {"QLoRA": {"load_in_4bit": True}},
    "lora": {"on every linear layer": {"r": 16, "lora_alpha": 16, "target_modules": "all-linear"}},
    "dataset": {"a file beside the recipe": {"train": "data/train.jsonl", "eval_fraction": 0.05}},
    "trainer": {"an epoch, packed": {"num_train_epochs": 1, "max_length": 2048, "packing": True}},
    "compute": {
        "on Modal": {"executor": "modal", "gpu": "L4", "timeout": "4h"},
        "on this machine": {"executor": "local"},
    },
    "samples": {"a prompt": {"prompts": ["a prompt"], "max_new_tokens": 128}},
    "budget": {"a limit": {"max_usd": 10}},
}


def schema() -> dict[str, Any]:
    """The schema as data."""
    made = Recipe.model_json_schema(mode="validation", schema_generator=_Generator)
    defs = made.pop("$defs")
    made["properties"] = {
        **dict(list(made["properties"].items())[:3]),
        "extends": {
            "type": "string",
            "description": "A recipe beside this one; mappings merge key by key, lists and scalars replace.",
            "examples": ["base.yaml"],
        },
        **dict(list(made["properties"].items())[3:]),
    }
    # what is required may stand in a base
    needed = {name: defs[kind].pop("required") for name, kind in _SECTIONS.items()}
    below = {name: {"required": keys} for name, keys in needed.items()}
    made["if"], made["else"] = {"required": ["extends"]}, {"required": made.pop("required"), "properties": below}
    made["required"] = ["version"]
    for source in ("train", "eval"):
        _short_forms(defs["Dataset"]["properties"], source)
    for source in ("data", "general"):
        _short_form(defs["Evaluation"]["properties"], source)
    _suggestions(defs)
    made["defaultSnippets"] = [
        {"label": f"{section}: {label}", "body": {section: body}}
        for section, bodies in SNIPPETS.items()
        for label, body in bodies.items()
    ]
    whole: dict[str, Any] = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": ID,
        "title": "sftrun recipe, version 1",
    }
    cleaned: dict[str, Any] = _tidy({**whole, **{k: v for k, v in made.items() if k != "title"}, "$defs": defs})
    return cleaned


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with null allowed everywhere (it means absent) and words explained."""

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        bounds = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
        return {"type": "number", **{name: float(schema[key]) for key, name in bounds.items() if key in schema}}


def _short_form(properties: dict[str, Any], name: str) -> None:
    """`data: file.jsonl` is short for `data: {path: file.jsonl}`."""
    was = properties[name]
    kept = {key: was.pop(key) for key in ("description", "default") if key in was}
    choices = was.pop("anyOf", [was] if was else [])
    properties[name] = {**kept, "anyOf": [_PATH, *choices]}


def _short_forms(properties: dict[str, Any], name: str) -> None:
    """`train: file.jsonl` is short for `train: {path: file.jsonl}`, in a list and under a name too."""
    kept = {key: properties[name][key] for key in ("description", "default") if key in properties[name]}
    one: dict[str, Any] = {"$ref": "#/$defs/Source"}
    either = {"anyOf": [_PATH, one]}
    others = {"not": {"enum": list(Source.model_fields)}}
    named = {"type": "object", "propertyNames": others, "additionalProperties": either, "minProperties": 1}
    several = {"type": "array", "items": either, "minItems": 1} if name == "train" else named
    properties[name] = {**kept, "anyOf": [_PATH, one, several, {"type": "null"}]}


def _suggestions(defs: dict[str, Any]) -> None:
    """Names that are checked by `validate` and that an editor may offer."""
    trainer, compute = defs["Trainer"]["properties"], defs["Compute"]["properties"]
    trainer["lr_scheduler_type"]["examples"] = known.sft_config()["names"]["schedules"]
    trainer["optim"]["examples"] = known.sft_config()["names"]["optimizers"]
    compute["gpu"]["examples"] = [*known.GPUS, "H100:8", "none"]


def _tidy(node: Any, *, is_names: bool = False) -> Any:
    """No generated titles, and null beside every type, since null and absent mean the same."""
    if isinstance(node, list):
        return [_tidy(child) for child in node]
    if not isinstance(node, dict):
        return node
    if not is_names and isinstance(node.get("title"), str) and "$schema" not in node:
        node = {key: value for key, value in node.items() if key != "title"}
    out = {
        key: _tidy(value, is_names=key in ("properties", "$defs"))
        for key, value in node.items()
        if is_names or key != "default" or not (value is None or isinstance(value, dict))
    }
    if "enum" in out and not is_names and all(isinstance(word, str) for word in out["enum"]):
        out["markdownEnumDescriptions"] = [_WORDS.get(word, word) for word in out["enum"]]
    return _nullable(out) if "properties" in out and out.get("type") == "object" else out


def _nullable(node: dict[str, Any]) -> dict[str, Any]:
    """null and an absent key mean the same, so null is allowed wherever a value is."""
    properties = {name: child if name == "version" else _or_null(child) for name, child in node["properties"].items()}
    return {**node, "properties": properties}


def _or_null(child: dict[str, Any]) -> dict[str, Any]:
    if any(part.get("type") == "null" for part in child.get("anyOf", ())):
        return child
    if "anyOf" in child:
        return {**child, "anyOf": [*child["anyOf"], {"type": "null"}]}
    notes: dict[str, Any] = {
        key: child[key] for key in ("description", "default", "examples", "deprecated") if key in child
    }
    rule = {key: value for key, value in child.items() if key not in notes}
    if notes.keys() >= {"description", "default"}:
        notes["markdownDescription"] = f"{notes['description']}\n\nDefault: `{json.dumps(notes['default'])}`"
    allowed: dict[str, Any] = {"anyOf": [rule, {"type": "null"}]}
    return notes | allowed
