"""The calls of a script that say what is trained: which they are, and where each argument stands."""

import ast
from typing import NamedTuple

from sftrun.diagnostics import Span
from sftrun.recipe.foreign.script.follow import Call, Follower, name_of

TRAINERS = ("SFTTrainer", "UnslothTrainer", "Trainer")
OTHER_TRAINERS = {
    "DPOTrainer": "preference learning",
    "KTOTrainer": "preference learning",
    "ORPOTrainer": "preference learning",
    "CPOTrainer": "preference learning",
    "GRPOTrainer": "reinforcement learning",
    "PPOTrainer": "reinforcement learning",
    "RLOOTrainer": "reinforcement learning",
    "RewardTrainer": "a reward model",
    "GKDTrainer": "distillation",
    "SentenceTransformerTrainer": "an embedding model",
}
OTHER_MODELS = {
    "FastVisionModel": "images have no form here",
    "FastSentenceTransformer": "a recipe fine-tunes causal language models",
    "WhisperForConditionalGeneration": "sound has no form here",
    "CsmForConditionalGeneration": "sound has no form here",
    "UnslothVisionDataCollator": "images have no form here",
    "AutoModelForSequenceClassification": "classification is another method",
    "AutoModelForImageTextToText": "images have no form here",
    "AutoModelForSeq2SeqLM": "a recipe fine-tunes causal language models",
    "AutoModelForVision2Seq": "images have no form here",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Found(NamedTuple):
    """One call with its arguments followed, and the node that it stands in."""

    call: Call
    node: ast.Call
    owner: str  # what it is called on: `FastLanguageModel`


class Script(NamedTuple):
    """A script as far as it can be read: the function that trains, and who follows its names."""

    file: str
    module: ast.Module
    function: Function | None
    follower: Follower

    def calls(self, *names: str) -> list[Found]:
        """The calls of those names: of the function that trains where it has any, else of the module."""
        inside = self._in(self.function, names) if self.function is not None else []
        return inside or self._in(self.module, names)

    def first(self, *names: str) -> Found | None:
        """The first of them."""
        found = self.calls(*names)
        return found[0] if found else None

    def span(self, node: ast.AST) -> Span:
        """Where a node stands; columns count from 1."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end_line, end = getattr(node, "end_lineno", line), getattr(node, "end_col_offset", column)
        return Span(self.file, line, column + 1, end_line, end + 1)

    def _in(self, where: ast.AST, names: tuple[str, ...]) -> list[Found]:
        nodes = [node for node in ast.walk(where) if isinstance(node, ast.Call) and name_of(node.func) in names]
        nodes.sort(key=lambda node: (node.lineno, node.col_offset))
        return [Found(self.follower.call(node), node, _owner(node)) for node in nodes]


def read(text: str, file: str) -> Script:
    """The script, and the function in which a trainer is made."""
    module = ast.parse(text)
    function = _training(module)
    return Script(file, module, function, Follower(module, function))


def decorators(script: Script) -> list[ast.Call]:
    """The decorators of the function that trains, or else of the first function that has a GPU."""
    functions = [node for node in ast.walk(script.module) if isinstance(node, Function | ast.ClassDef)]
    around = [node for node in functions if script.function is not None and script.function in ast.walk(node)]
    for node in [*reversed(around), *functions]:
        found = [one for one in node.decorator_list if isinstance(one, ast.Call) and _is_modal(one)]
        if found and (node in around or any(one.arg == "gpu" for call in found for one in call.keywords)):
            return found
    return []


def _is_modal(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr in ("function", "cls")


def _training(module: ast.Module) -> Function | None:
    """The innermost function that makes a trainer."""
    found: Function | None = None
    for node in ast.walk(module):
        if isinstance(node, Function) and any(
            isinstance(one, ast.Call) and name_of(one.func) in (*TRAINERS, *OTHER_TRAINERS) for one in ast.walk(node)
        ):
            found = node
    return found


def _owner(node: ast.Call) -> str:
    return name_of(node.func.value) if isinstance(node.func, ast.Attribute) else ""
