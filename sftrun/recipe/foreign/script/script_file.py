"""A script's calls as one flat mapping, by the names of TRL's command line; each value knows its place."""

import ast
import re
from typing import Any

from sftrun.diagnostics import Span
from sftrun.disk import outside
from sftrun.errors import SftrunError
from sftrun.recipe.foreign.script import calls
from sftrun.recipe.foreign.script.calls import Found, Script
from sftrun.recipe.foreign.script.follow import Unknown, is_unknown
from sftrun.recipe.read.nodes import MapNode, ScalarNode, Source

_LORA = {
    "r": "lora_r",
    "bias": "lora_bias",
    "target_modules": "lora_target_modules",
    "exclude_modules": "lora_exclude_modules",
    "modules_to_save": "lora_modules_to_save",
    "target_parameters": "lora_target_parameters",
    "layers_to_transform": "lora_layers_to_transform",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
    "init_lora_weights": "lora_init_lora_weights",
    "random_state": "lora_seed",
}
_BITS = {"bnb_4bit_use_double_quant": "use_bnb_nested_quant"}
_MODEL = {
    "pretrained_model_name_or_path": "model_name_or_path",
    "model_name": "model_name_or_path",
    "torch_dtype": "dtype",
    "revision": "model_revision",
}
# objects that are looked at themselves
_OBJECTS = {
    *("model", "args", "train_dataset", "eval_dataset", "peft_config", "quantization_config", "tokenizer"),
    *("processing_class", "data_collator", "name", "image", "schedule", "token", "tokenizer_name"),
}
MOST_BYTES = 64 * 2**20  # of a notebook: its pictures are in it
UNSLOTH = ("FastLanguageModel", "FastModel")


class ScriptFile:
    """What a script says: `values` as far as they can be followed, `unknown` what can't be."""

    def __init__(self, text: str, file: str) -> None:
        code = _code_of_notebook(text, file) if file.endswith(".ipynb") else text
        try:
            self.script: Script = calls.read(code, file)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            raise SftrunError(f"`{file}` can't be read as Python{where}", help="see `python -m py_compile`") from error
        root = MapNode(Span(file, 1, 1, 1, 1))
        self.source = Source(file, {file: code}, root)
        self.values: dict[str, Any] = {}
        self.unknown: dict[str, str] = {}
        self._root = root
        self._gather()

    def add(self, key: str, value: Any, span: Span) -> None:
        """A value under a key; the first one stands."""
        if value is None or key in self.values or key in self.unknown:
            return
        self._root.items[key], self._root.keys[key] = ScalarNode(span, None), span
        if is_unknown(value) and key not in ("retries", "volumes", "secrets", "gpu"):
            self.unknown[key] = value.text if isinstance(value, Unknown) else _shown(value)
        else:
            self.values[key] = value

    def _gather(self) -> None:
        script = self.script
        self._model(script)
        for names, renamed in (
            (("LoraConfig",), _LORA),
            (("get_peft_model",), _LORA),
            (("BitsAndBytesConfig",), _BITS),
        ):
            found = script.first(*names)
            if found is not None and not (names == ("get_peft_model",) and not found.call.named):
                self._keywords(found, renamed)
        for found in (
            script.first("SFTConfig", "TrainingArguments", "UnslothTrainingArguments"),
            script.first(*calls.TRAINERS),
        ):
            if found is not None:
                self._keywords(found, {})
        for node in calls.decorators(script):
            self._keywords(Found(script.follower.call(node), node, ""), {})
        self._others(script)

    def _model(self, script: Script) -> None:
        made = [one for one in script.calls("from_pretrained") if _is_model(one.owner)]
        if made:
            found = made[0]
            if found.call.positional:
                self.add("model_name_or_path", found.call.positional[0], script.span(found.node.args[0]))
            self._keywords(found, _MODEL)

    def _keywords(self, found: Found, renamed: dict[str, str]) -> None:
        for keyword in found.node.keywords:
            name = keyword.arg or "**"
            if name not in _OBJECTS and name in found.call.named:
                self.add(renamed.get(name, name), found.call.named[name], _name_span(self.script.file, keyword))
        for name in set(found.call.named) - {one.arg for one in found.node.keywords} - _OBJECTS:
            self.add(renamed.get(name, name), found.call.named[name], self.script.span(found.node))

    def _others(self, script: Script) -> None:
        """Trainers and models that are no supervised fine-tuning of text."""
        for node in ast.walk(script.module):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if name in calls.OTHER_TRAINERS:
                self.add("trainer_class", f"{name}: {calls.OTHER_TRAINERS[name]}", script.span(node))
            elif name in calls.OTHER_MODELS:
                self.add("model_class", f"{name}: {calls.OTHER_MODELS[name]}", script.span(node))


def _is_model(owner: str) -> bool:
    return (
        "Tokenizer" not in owner
        and "Processor" not in owner
        and owner not in ("PeftModel", "GenerationConfig", "AutoConfig")
    )


def _name_span(file: str, keyword: ast.keyword) -> Span:
    line, column = keyword.lineno, keyword.col_offset + 1
    return Span(file, line, column, line, column + len(keyword.arg or "**"))


def _shown(value: Any) -> str:
    name = getattr(value, "name", None)
    return f"{name}(…)" if isinstance(name, str) else "…"


def _code_of_notebook(text: str, file: str) -> str:
    """The code cells of a notebook, one below the other, without the lines that are for the shell."""
    try:
        cells: Any = outside.parse_object(text, max_bytes=MOST_BYTES)["cells"]
        codes = ["".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code"]
    except (outside.Damaged, KeyError, TypeError, AttributeError) as error:
        raise SftrunError(f"`{file}` is no notebook", help="save it with its code cells") from error
    plain = [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", code) for code in codes if not code.startswith("%%")]
    return "\n\n".join(plain) + "\n"
