"""Names that libraries keep to themselves and that we use all the same: all of them stand here, and exist.

A lock that moves a library fails here first, with the name that is gone.  A name is private where it, or a module on
the way to it, begins with an underscore; besides, whatever of transformers, TRL, accelerate and PEFT does not come
from the library's front door, and is no part of what its documentation promises.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from inspect import getsource
from typing import Any

import pytest

from tests.guards.source import nodes, trees

# modules and names that are imported: `module` or `module:name`
IMPORTED = {
    "accelerate.utils:DistributedType",
    "accelerate.utils:FullyShardedDataParallelPlugin",
    "accelerate.utils.fsdp_utils:fsdp2_prepare_model",
    "modal._output.manager:DisabledOutputManager",
    "modal._output.manager:OutputManager",
    "torch.distributed.tensor._utils:compute_local_shape_and_global_offset",
    "torch.utils._pytree:tree_leaves",
    "transformers.integrations.sdpa_attention:sdpa_attention_forward",
    "transformers.masking_utils:sdpa_mask",
    "transformers.modeling_outputs:BaseModelOutputWithPast",
    "transformers.trainer:OPTIMIZER_NAME",
    "transformers.trainer:SCHEDULER_NAME",
    "transformers.trainer_callback:PrinterCallback",
    "transformers.trainer_callback:TrainerState",
    "trl.trainer:utils",
    "trl.trainer.sft_config:SFTConfig",
    "trl.trainer.sft_trainer:SFTTrainer",
}
# attributes: the private name -> where it is to be found, `module:path.to.owner`
ATTRIBUTES = {
    "_ChunkedLogProbFunction": "trl.trainer.utils:",
    "_CHUNKED_LOGPROB_CHUNK_SIZE": "trl.trainer.utils:",
    "_attn_implementation": "transformers:PretrainedConfig",
    "_clip_grad_norm": "transformers:Trainer",
    "_compiled_call_impl": "torch.nn:Module",
    "_dynamo": "torch:",
    "_foreach_copy_": "torch:",
    "_functorch": "torch:",
    "_get_metadata": "modal:Volume",
    "_load_best_model": "transformers:Trainer",
    "_load_from_checkpoint": "transformers:Trainer",
    "_load_optimizer_and_scheduler": "transformers:Trainer",
    "_no_split_modules": "transformers:PreTrainedModel",
    "_save": "transformers:Trainer",
    "_save_checkpoint": "transformers:Trainer",
    "_save_optimizer_and_scheduler": "transformers:Trainer",
    "_save_rng_state": "transformers:Trainer",
    "_set": "modal._output.manager:OutputManager",
    "_setup_devices": "transformers:TrainingArguments",
}
# attributes that an object gets when it is made: the private name -> the class whose code sets it
SET_WHEN_MADE = {
    "_backward_hooks": "torch.nn:Parameter",
    "_buffers": "torch.nn:Module",
    "_metrics": "trl.trainer.sft_trainer:SFTTrainer",
    "_models": "accelerate:Accelerator",
    "_optimizers": "accelerate:Accelerator",
    "_post_accumulate_grad_hooks": "torch.nn:Parameter",
}
# no underscore, and promised by nobody all the same
UNPROMISED = {"modal.volume:AbstractVolumeUploadContextManager"}
FRONT_DOORS = {"accelerate", "peft", "transformers", "trl"}
WATCHED = {"accelerate", "datasets", "modal", "modal_proto", "peft", "torch", "transformers", "trl", "bitsandbytes"}
BY_STRING = {"getattr", "hasattr", "setattr", "delattr"}
OF_PYTHON = {"_asdict", "_exit", "_fields", "_make", "_replace"}


def imported() -> Iterator[str]:
    for _, node in nodes():
        if isinstance(node, ast.ImportFrom) and node.module and _is_private(node.module):
            yield from (f"{node.module}:{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if _is_private(name.name))


def _is_private(module: str) -> bool:
    library, _, rest = module.partition(".")
    hidden = any(part.startswith("_") for part in module.split("."))
    return library in WATCHED and (hidden or (library in FRONT_DOORS and bool(rest)))


def attributes() -> set[str]:
    """Private names that are asked of what the file itself does not define, or of a class above one's own."""
    found = set()
    for tree in trees().values():
        own = _defined(tree)
        for node in ast.walk(tree):
            name = _asked(node)
            if name.startswith("_") and not name.startswith("__") and (name not in own or _is_super(node)):
                found.add(name)
    return found - OF_PYTHON


def _asked(node: ast.AST) -> str:
    """The name that is asked for by `x.name` or `getattr(x, "name")`; empty where none is."""
    if isinstance(node, ast.Attribute):
        return node.attr
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_STRING
    name = node.args[1] if isinstance(node, ast.Call) and is_call and len(node.args) > 1 else None
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""


def _defined(tree: ast.Module) -> set[str]:
    """Names that a file makes itself: functions, classes, variables, fields, and what is set on `self`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            found.add(node.attr)
    return found


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _is_super(node: ast.AST) -> bool:
    asked = node.value if isinstance(node, ast.Attribute) else None
    return isinstance(asked, ast.Call) and isinstance(asked.func, ast.Name) and asked.func.id == "super"


def overridden() -> set[str]:
    """Private methods of TRL's trainer that ours stands in for."""
    from sftrun.job.train.trainer import JobTrainer

    above: Any = JobTrainer.__mro__[1]
    return {name for name in vars(JobTrainer) if name.startswith("_") and name[1] != "_" and hasattr(above, name)}


def owner(place: str) -> Any:
    module, _, path = place.partition(":")
    found = import_module(module)
    return getattr(found, path) if path else found


def test_every_private_name_that_is_imported_stands_here() -> None:
    assert set(imported()) == IMPORTED


def test_every_private_name_that_is_asked_for_stands_here() -> None:
    assert attributes() == set(ATTRIBUTES) | set(SET_WHEN_MADE)


def missing(library: str) -> Iterator[str]:
    """What the installed version has no more."""
    for place in sorted(IMPORTED | UNPROMISED):
        if place.startswith((f"{library}.", f"{library}:")) and not _has(place):
            yield place
    for name, place in ATTRIBUTES.items():
        if place.startswith((f"{library}.", f"{library}:")) and not hasattr(owner(place), name):
            yield f"{place}.{name}"
    for name, place in SET_WHEN_MADE.items():
        if place.startswith((f"{library}.", f"{library}:")) and not _gets(owner(place), name):
            yield f"{place}.{name}"


def _has(place: str) -> bool:
    module, _, name = place.partition(":")
    return hasattr(import_module(module), name)


def _gets(kind: Any, name: str) -> bool:
    return hasattr(kind, name) or name in getsource(kind)


# one test for all that import one another, so that several workers do not each wait for them
@pytest.mark.parametrize("libraries", [("modal",), ("torch", "transformers", "trl", "accelerate", "peft")])
def test_the_locked_version_has_every_name(libraries: tuple[str, ...]) -> None:
    for library in libraries:
        pytest.importorskip(library)
        assert list(missing(library)) == []
    if "trl" in libraries:
        assert overridden() <= set(ATTRIBUTES), "a private method of TRL's trainer that ours stands in for"
