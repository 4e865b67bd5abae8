"""Another tool's file -> a recipe that does the same, or what stands in the way.

Each tool has a table of its keys (`tables/`) and a module for those that are no plain renaming.  What is in neither is
told and not passed over: a key without which the run would be another is an error, unless a lossy import is asked for.
"""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from sftrun.diagnostics import Diagnostic
from sftrun.errors import SftrunError
from sftrun.recipe.foreign import gpu_guess
from sftrun.recipe.foreign.draft import Draft, Left
from sftrun.recipe.foreign.foreign_file import ForeignFile, Table, reasons, table
from sftrun.recipe.foreign.script import script_recipe
from sftrun.recipe.foreign.script.script_file import ScriptFile
from sftrun.recipe.foreign.tools import axolotl, llama_factory, oumi, soup, torchtune, trl_cli
from sftrun.recipe.foreign.writing import EMPTY, flow, text_of
from sftrun.recipe.known import OBJECT_NAME
from sftrun.recipe.models import Trainer
from sftrun.recipe.read.nodes import Source

TOOLS: dict[str, ModuleType] = {
    "axolotl": axolotl,
    "llama_factory": llama_factory,
    "trl": trl_cli,
    "oumi": oumi,
    "soup": soup,
    "torchtune": torchtune,
}
NOT_ASKED = "nothing is asked for"
_CODES = {"refused": "I101", "differs": "I102"}


class Imported(NamedTuple):
    """The recipe's text and its files; `diagnostics` are of the other tool's file, whose text is in `source`.

    `todo` is what only the author knows: our dotted key, and what to put there.
    """

    tool: str
    text: str
    files: dict[str, str]
    todo: dict[str, str]
    diagnostics: tuple[Diagnostic, ...]
    source: Source

    @property
    def is_refused(self) -> bool:
        """Whether it is no run that a recipe can be, lossy or not."""
        return any(one.code != _CODES["differs"] for one in self.diagnostics)


def imported(text: str, file: str) -> Imported:
    """What `file` says as a recipe.  SftrunError where the file is none of the tools' own."""
    if file.endswith((".py", ".ipynb")):
        return _of_script(ScriptFile(text, file), file)
    read = ForeignFile(text, file)
    name = tool_of(read)
    if name is None:
        known = ", ".join(table(one).tool for one in TOOLS)
        raise SftrunError(f"`{file}` is no file of a tool that can be imported", help=f"known are files of {known}")
    draft = Draft(table(name))
    names = table(name).names
    carry_all(draft, name, read.flat(names) if names else read.values)
    complete(draft)
    found = (*read.faults, *_told(draft, read.source))
    return Imported(name, text_of(draft, file, read.line), draft.files, draft.todo, found, read.source)


def _of_script(read: ScriptFile, file: str) -> Imported:
    """What a script says as a recipe."""
    draft = Draft(table("script"))
    done = script_recipe.carry(draft, read)
    _each(draft, "script", read.values, done)
    if "model_name_or_path" not in read.values and "trainer_class" not in read.values:
        draft.differ(("model_name_or_path",), None, "no model is loaded by a name that can be followed")
    complete(draft)
    text = text_of(draft, file, lambda path: read.source.locate(path, on_key=True).line)
    return Imported("script", text, draft.files, draft.todo, tuple(_told(draft, read.source)), read.source)


def _told(draft: Draft, source: Source) -> list[Diagnostic]:
    """What is refused, or else what differs, in the order of the file."""
    refused = [one for one in draft.left if one.weight == "refused"]
    found = [_diagnostic(one) for one in refused or draft.left if one.weight != "same"]
    return sorted(found, key=lambda one: (source.place(one).line, source.place(one).column))


def tool_of(read: ForeignFile) -> str | None:
    """Whose file it is, by the keys that tell."""
    keys = set(read.values) | read.keys()
    scores = {name: _score(table(name), keys) for name in TOOLS}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= 2 else None


def _score(table: Table, keys: set[str]) -> int:
    """How many keys tell of the tool, those that it needs counted twice."""
    if table.must is not None and table.must not in keys:
        return 0
    return len(keys & set(table.telling)) + len(keys & set(table.needed))


def carry_all(draft: Draft, name: str, values: dict[str, Any]) -> None:
    """Every key of the file: by the tool's module, by its table, or as one that is left."""
    given = {key: value for key, value in values.items() if value is not None and value != ""}
    for key in draft.table.needed:
        if key not in given:
            draft.differ((key,), None, f"{draft.table.tool} needs it, and it is not there")
    _each(draft, name, values, TOOLS[name].carry(draft, given))


def _each(draft: Draft, name: str, values: dict[str, Any], done: set[str]) -> None:
    """Each key that the tool's module has not done."""
    for key, value in values.items():
        if value is None or value == "":
            draft.same((key,), value, EMPTY)
        elif key not in done:
            _by_table(draft, name, key, value)
        elif key not in draft.used:
            _unused(draft, key, value)


def _unused(draft: Draft, key: str, value: Any) -> None:
    if not value or value in ("no", "none", -1):
        draft.same((key,), value, NOT_ASKED)
    else:
        draft.differ((key,), value, "beside the other keys it has no effect that a recipe could say")


def _by_table(draft: Draft, name: str, key: str, value: Any) -> None:
    table = draft.table
    is_off = not value or value == table.off.get(key)
    if key in table.refused:
        (draft.same if is_off else draft.refuse)((key,), value, table.refused[key])
    elif key in table.renamed:
        _rename(draft, key, table.renamed[key], value)
    elif (why := reasons(name).get(key) or reasons(name).get(f"{key.partition('.')[0]}.")) is not None:
        draft.same((key,), value, why)
    elif key in table.differs:
        (draft.same if is_off else draft.differ)((key,), value, NOT_ASKED if is_off else table.differs[key])
    elif table.hands_on and key in Trainer.model_fields and key != "extra":
        _rename(draft, key, f"trainer.{key}", value)
    elif is_off:
        draft.same((key,), value, NOT_ASKED)
    else:
        draft.differ((key,), value, "`import` does not know what it does")


def _rename(draft: Draft, key: str, ours: str, value: Any) -> None:
    if ours.startswith("lora.") and not draft.is_lora:
        draft.same((key,), value, "no adapter is trained")
    else:
        draft.put((key,), ours, _number(value) if ours.startswith("trainer.") else value)


def _number(value: Any) -> Any:
    """`1e-5` is a text to some YAML readers, and a number to the tool."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value) else value


def complete(draft: Draft) -> None:
    """What the tool does by itself, what a recipe needs besides, and what changes nothing."""
    values = draft.values
    if not draft.is_lora:
        draft.drop("lora")
    for key, value in draft.table.defaults.items():
        if key.partition(".")[0] in ("lora", "quantization") and not draft.has(key.partition(".")[0]):
            continue
        if not (draft.has(key) or any(draft.has(other) for other in _INSTEAD.get(key, ()))):
            draft.default(key, value)
    if not (draft.has("dataset.train")):
        values["dataset.train"], draft.todo["dataset.train"] = {"path": "data/train.jsonl"}, "the training rows"
    _without_rows(draft)
    if not _can_be_counted(values["dataset.train"]) and any(
        f"trainer.{key}s_per_epoch" in values for key in ("eval", "save")
    ):
        what = "num_examples and mean_tokens, where the rows can't be counted: times an epoch need them"
        draft.todo.setdefault("dataset.train", what)
    if "trainer.max_steps" in values:
        draft.drop("trainer.num_train_epochs")
    if not OBJECT_NAME.fullmatch(str(values.get("name", ""))):
        values["name"] = "imported"
    values.setdefault("output.dir", f"/outputs/{values['name']}")
    if "compute.gpu" not in values:
        values["compute.gpu"], draft.todo["compute.gpu"] = (
            gpu_guess.guess(values),
            "`sftrun estimate-cost` compares GPUs",
        )
    if "volumes" not in values and not draft.has("volumes"):
        values["volumes"], draft.todo["volumes"] = (
            {"/outputs": "sft-outputs"},
            "the Modal Volume that keeps the adapter",
        )


_INSTEAD = {
    "trainer.warmup_ratio": ("trainer.warmup_steps",),
    "trainer.warmup_steps": ("trainer.warmup_ratio",),
    "trainer.num_train_epochs": ("trainer.max_steps",),
    "trainer.save_steps": ("trainer.saves_per_epoch",),
    "trainer.saves_per_epoch": ("trainer.save_steps",),
}
_EVALUATING = (
    *("eval_steps", "evals_per_epoch", "per_device_eval_batch_size", "load_best_model_at_end"),
    *("metric_for_best_model", "early_stopping_patience"),
)


def _can_be_counted(source: Any) -> bool:
    """Whether rows lie on this machine, as far as their path tells."""
    found = source if isinstance(source, list) else [source]
    return all(isinstance(one, dict) and not str(one.get("path", "/")).startswith("/") for one in found)


def _without_rows(draft: Draft) -> None:
    if not (draft.has("dataset.eval") or draft.has("dataset.eval_fraction")):
        for key in _EVALUATING:
            if (value := draft.values.pop(f"trainer.{key}", None)) is not None:
                draft.same((key,), value, "there are no rows to evaluate on")


def _diagnostic(left: Left) -> Diagnostic:
    name = ".".join(map(str, left.at))
    if left.weight == "refused":
        return Diagnostic("I101", f"`{name}: {short(left.value)}`: {left.why}", at=left.at, on_key=True, help=_REFUSED)
    message = f"`{name}: {short(left.value)}` can't be carried over: {left.why}"
    return Diagnostic("I102", message, at=left.at, on_key=True, help="take it out there, or import with `--lossy`")


_REFUSED = "sftrun does supervised fine-tuning of text alone"


def short(value: Any) -> str:
    """A value for a message."""
    text = flow(value)
    return text if len(text) <= 60 else text[:57] + "…"


Carry = Callable[[Draft, dict[str, Any]], set[str]]
