"""Another tool's YAML -> a recipe of ours, with a comment for everything that could not be carried over.

Three tools are known: axolotl, LLaMA-Factory and TRL.  Their keys are carried by the tables in `foreign_keys`; what
stands in none of them, or has a value that this recipe can't say, becomes a comment, so that nothing gets lost in
silence.  The result is a draft: the places marked `TODO` are what only its author knows.
"""

from collections.abc import Iterator
from typing import Any

from sftrun.errors import SftrunError
from sftrun.recipe.foreign.conversions import SPECIAL, Draft, flow, scalar
from sftrun.recipe.foreign.keys import DROPPED, EXTRA_OF_ALL, RENAMED, TOOLS
from sftrun.recipe.known import OBJECT_NAME, sft_config
from sftrun.recipe.models import Trainer
from sftrun.recipe.read.nodes import ListNode, MapNode, Node, ScalarNode, is_bool_word, is_true_word
from sftrun.recipe.read.source import parse
from sftrun.recipe.words.names import foreign

SECTIONS = ("model", "quantization", "lora", "dataset", "trainer", "compute", "volumes", "output", "samples")


def recipe_of(text: str, file: str) -> str:
    """The text of a recipe that says what `file` said.  SftrunError where the file is none of the tools' own."""
    parsed, _ = parse(text.removeprefix("\ufeff"), file)
    if parsed.root is None:
        raise SftrunError(f"`{file}` can't be read as YAML", help=f"see `sftrun validate {file}`")
    read = {key: _plain(node) for key, node in parsed.root.items.items()}
    tool = tool_of(read)
    if tool is None:
        help = "files of axolotl, LLaMA-Factory and TRL are known"
        raise SftrunError(f"`{file}` is no file of a tool that can be imported", help=help)
    draft = Draft(tool)
    for key, value in read.items():
        if value is not None and value != "":
            _carry(draft, key, value)
    _complete(draft, file)
    return "".join(_lines(draft, file))


def tool_of(read: dict[str, Any]) -> str | None:
    """Whose file it is, by the keys that tell."""
    scores = {tool: len(telling & set(read)) for tool, telling in TOOLS.items()}
    best = max(scores, key=lambda tool: scores[tool])
    return best if scores[best] >= 2 else None


def _carry(draft: Draft, key: str, value: Any) -> None:
    special = SPECIAL.get((draft.tool, key)) or SPECIAL.get(("", key))
    renamed = RENAMED[draft.tool].get(key)
    if special is not None:
        try:
            special(draft, key, value)
        except (TypeError, ValueError, AttributeError, KeyError):
            draft.lose(key, value, "not a value that this key usually has")
    elif key in DROPPED[draft.tool]:
        draft.lose(key, value, DROPPED[draft.tool][key])
    elif renamed is not None:
        draft.values[renamed] = value
    elif key in Trainer.model_fields and key != "extra":
        draft.values[f"trainer.{key}"] = value
    elif key in EXTRA_OF_ALL or (draft.tool == "TRL" and key in sft_config()["fields"]):
        draft.values[f"trainer.extra.{key}"] = value
    else:
        advice = foreign(key)
        why = advice[1:-1] if advice is not None and advice.startswith("(") else "no such setting here"
        draft.lose(key, value, why)


def _complete(draft: Draft, file: str) -> None:
    """What a recipe needs and the other tool's file doesn't say; and what changes nothing any more."""
    values = draft.values
    if draft.tool == "LLaMA-Factory" and isinstance(values.get("lora.r"), int):
        values.setdefault("lora.lora_alpha", 2 * values["lora.r"])  # its default
    if "model.name_or_path" not in values:
        values["model.name_or_path"], draft.todo["model.name_or_path"] = "TODO", "the model"
    if not any(key.startswith("dataset.train.") for key in values):
        values["dataset.train.path"], draft.todo["dataset.train.path"] = "data/train.jsonl", "the training rows"
    has_eval = any(key.startswith("dataset.eval") for key in values)
    for key in (
        *("eval_steps", "evals_per_epoch", "per_device_eval_batch_size"),
        *("load_best_model_at_end", "metric_for_best_model", "early_stopping_patience"),
    ):
        if not has_eval and f"trainer.{key}" in values:
            draft.lose(key, values.pop(f"trainer.{key}"), "there are no rows to evaluate on")
    if values.get("trainer.max_steps") is not None and "trainer.num_train_epochs" in values:
        draft.lose("num_train_epochs", values.pop("trainer.num_train_epochs"), "max_steps decides")
    if not OBJECT_NAME.fullmatch(str(values.get("name", ""))):
        values["name"] = "imported"
    values.setdefault("output.dir", f"/outputs/{values['name']}")
    values["compute.gpu"], draft.todo["compute.gpu"] = "L40S", "the GPU; `sftrun estimate-cost` compares them"
    values["volumes./outputs"], draft.todo["volumes./outputs"] = (
        "sft-outputs",
        "the Modal Volume that keeps the adapter",
    )


def _lines(draft: Draft, file: str) -> Iterator[str]:
    yield f"# Imported from {file.rpartition('/')[2]}, a file of {draft.tool}.\n"
    yield f"version: 1\nname: {scalar(draft.values.pop('name'))}\n"
    tree: dict[str, Any] = {}
    for dotted, value in draft.values.items():
        *above, last = dotted.split(".", 2) if dotted.startswith("trainer.extra.") else dotted.split(".")
        level = tree
        for name in above:
            level = level.setdefault(name, {})
        level[last] = value
    for section in SECTIONS:
        if section in tree:
            yield f"\n{section}:\n"
            yield from _mapping(tree[section], (section,), draft.todo)
    if draft.lost:
        yield "\n# Not carried over:\n"
        yield from (f"#   {line}\n" for line in draft.lost)


def _mapping(level: dict[str, Any], above: tuple[str, ...], todo: dict[str, str]) -> Iterator[str]:
    indent = "  " * len(above)
    for key, value in level.items():
        path = (*above, key)
        note = todo.get(".".join(path))
        comment = f"  # TODO {note}" if note else ""
        if isinstance(value, dict) and value and path[:2] != ("trainer", "extra"):
            yield f"{indent}{key}:\n"
            yield from _mapping(value, path, todo)
        else:
            yield f"{indent}{scalar(key)}: {flow(value)}{comment}\n"


def _plain(node: Node) -> Any:
    """The value as a YAML 1.1 reader has it: the other tools are such readers."""
    if isinstance(node, MapNode):
        return {key: _plain(child) for key, child in node.items.items()}
    if isinstance(node, ListNode):
        return [_plain(child) for child in node.items]
    assert isinstance(node, ScalarNode)
    if node.plain and isinstance(node.value, str) and is_bool_word(node.value):
        return is_true_word(node.value)
    return node.value
