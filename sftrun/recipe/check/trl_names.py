"""Names that the locked TRL and transformers decide: schedules, optimisers, the fields of `trainer.extra`."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic
from sftrun.recipe import known
from sftrun.recipe.models import Recipe
from sftrun.recipe.words.names import nearest

# SFTConfig fields that have their own key in a recipe, beside those of `trainer` itself
_ELSEWHERE = {
    "output_dir": "output.dir",
    "run_name": "name",
    "trust_remote_code": "model.trust_remote_code",
    "model_init_kwargs": "model",
    "shuffle_dataset": "dataset.shuffle",
    "chat_template_path": "dataset.chat_template",
    "eval_strategy": "trainer.eval_steps",
    "save_strategy": "trainer.save_steps",
    "logging_strategy": "trainer.logging_steps",
    "hub_token": "secrets",
    "activation_checkpointing": "trainer.gradient_checkpointing",
}
# SFTConfig fields that sftrun sets itself: what another value would break
_OURS = {
    "resume_from_checkpoint": "`sftrun apply` resumes by itself",
    "do_train": "a recipe always trains",
    "do_eval": "evaluation follows from `dataset.eval`",
    "do_predict": "a recipe only trains",
    "greater_is_better": "it is known of each `trainer.metric_for_best_model`",
    "local_rank": "sftrun starts the processes",
    "disable_tqdm": "sftrun draws the progress",
    "use_cpu": "it follows from `compute.gpu`",
    "padding_free": "it follows from `trainer.packing` and the attention",
    "save_only_model": "a checkpoint must hold all that resuming needs",
    "ignore_data_skip": "a resumed run goes on with the row it stopped at",
    "remove_unused_columns": "rows reach TRL tokenised",
    "skip_memory_metrics": "sftrun measures the memory",
    "deepspeed": "FSDP2 shards the weights where one GPU has no room, or by `fsdp: true`",
}
_PYTHON: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": str,
    "dict": dict,
    "list": tuple,
}
_SAID = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text", "dict": "a mapping"}


def names(recipe: Recipe) -> Iterator[Diagnostic]:
    trainer = recipe.trainer
    rows = (
        ("R117", "lr_scheduler_type", "schedules", known.USUAL_SCHEDULES, "schedule"),
        ("R118", "optim", "optimizers", known.USUAL_OPTIMIZERS, "optimiser"),
    )
    for code, key, table, usual, thing in rows:
        value = getattr(trainer, key)
        if value in usual or value in known.sft_config()["names"][table]:
            continue
        near = nearest(value, known.sft_config()["names"][table], 0.5)
        help = f"did you mean `{near}`?" if near else f"for example `{key}: {sorted(usual)[0]}`"
        yield Diagnostic(code, f"`{value}` is no {thing} of transformers", at=("trainer", key), help=help)


def extra(recipe: Recipe) -> Iterator[Diagnostic]:
    fields = known.sft_config()["fields"] if recipe.trainer.extra else {}
    for key, value in recipe.trainer.extra.items():
        at = ("trainer", "extra", key)
        own = f"trainer.{key}" if key in type(recipe.trainer).model_fields else _ELSEWHERE.get(key)
        if key in ("eos_token", "pad_token") and getattr(recipe.dataset, key) is not None:
            own = f"dataset.{key}"
        if own is not None:
            message = f"`{key}` has a place of its own in a recipe"
            yield Diagnostic("R115", message, at=at, on_key=True, help=f"write it as `{own}`")
        elif key in _OURS:
            message = f"`{key}` is set by sftrun: {_OURS[key]}"
            yield Diagnostic("R115", message, at=at, on_key=True, help="take it out")
        elif key not in fields:
            near = nearest(key, fields)
            help = f"did you mean `{near}`?" if near else "see the fields of TRL's SFTConfig"
            yield Diagnostic("R114", f"SFTConfig has no field `{key}`", at=at, on_key=True, help=help)
        elif not _fits(value, fields[key]):
            kinds = " or ".join(_SAID.get(kind, "a list") for kind in fields[key] if kind != "null")
            yield Diagnostic("R116", f"`{key}` takes {kinds}", at=at, help=f"write {kinds}")


def _fits(value: object, kinds: list[str]) -> bool:
    if isinstance(value, bool):
        return "bool" in kinds
    return any(isinstance(value, _PYTHON[kind]) for kind in kinds if kind in _PYTHON and kind != "bool")


NAMES = (names, extra)
