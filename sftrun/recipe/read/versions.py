"""The first rule: a recipe says which version of the form it is written in.

A file without one, or with one that this program doesn't know, gets a single diagnostic: its keys may mean anything.
"""

from sftrun.diagnostics import Diagnostic, Span
from sftrun.recipe.read.nodes import MapNode, Node, ScalarNode

CURRENT = 1
# keys that no recipe has at top level, and that another tool's file or the flat version 0 does
_FOREIGN = {
    "axolotl": {"base_model", "adapter", "datasets", "sequence_len", "micro_batch_size", "lora_r"},
    "LLaMA-Factory": {"stage", "finetuning_type", "template", "cutoff_len", "do_train", "model_name_or_path"},
    "TRL": {"dataset_name", "lora_r", "use_peft", "model_name_or_path", "lora_target_modules"},
}
_FLAT = {"model_name", "train_file", "lora_r", "output_dir", "gpu", "epochs", "max_seq_length", "learning_rate"}


def judge(root: MapNode, file: str) -> Diagnostic | None:
    """What is wrong with the version, if anything."""
    node = root.items.get("version")
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return _missing(root, file)
    if isinstance(node, ScalarNode) and type(node.value) is int and node.value == CURRENT:
        return None
    if isinstance(node, ScalarNode) and node.value == 0 and type(node.value) is int:
        help = f"run `sftrun migrate {file}`"
        return Diagnostic("R102", "version 0 is the old, flat form", at=("version",), span=node.span, help=help)
    return Diagnostic(
        "R102",
        f"{_shown(node)} is no version that this program knows",
        at=("version",),
        span=node.span,
        help=f"write `version: {CURRENT}`, or upgrade sftrun if the recipe is newer",
    )


def _missing(root: MapNode, file: str) -> Diagnostic:
    first = next(iter(root.keys.values()), None)
    span = first or Span(file, 1, 1, 1, 1)
    return Diagnostic("R101", "the recipe does not say its `version`", span=span, help=_advice(root, file))


def _advice(root: MapNode, file: str) -> str:
    keys = set(root.items)
    tool = max(_FOREIGN, key=lambda name: len(_FOREIGN[name] & keys))
    if len(_FOREIGN[tool] & keys) >= 2 and not keys & {"model", "trainer", "output"}:
        return f"this looks like a file of {tool}: run `sftrun import {file}`"
    if len(_FLAT & keys) >= 2:
        return f"this looks like the old, flat form: run `sftrun migrate {file}`"
    return f"begin the file with `version: {CURRENT}`"


def _shown(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return "this"
    return f"`{node.text}`" if node.plain else f'`"{node.text}"`'
