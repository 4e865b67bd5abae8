"""What belongs together in `model`, `quantization`, `lora` and `trainer`."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic
from sftrun.recipe import known
from sftrun.recipe.models import Recipe
from sftrun.recipe.names import nearest

# SFTConfig fields that have their own key in a recipe, beside those of `trainer` itself
_ELSEWHERE = {
    "output_dir": "output.dir",
    "run_name": "name",
    "trust_remote_code": "model.trust_remote_code",
    "model_init_kwargs": "model",
    "shuffle_dataset": "dataset.shuffle",
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
    "local_rank": "sftrun starts the processes",
    "disable_tqdm": "sftrun draws the progress",
    "use_cpu": "it follows from `compute.gpu`",
    "padding_free": "it follows from `trainer.packing` and the attention",
    "save_only_model": "a checkpoint must hold all that resuming needs",
    "ignore_data_skip": "a resumed run goes on with the row it stopped at",
    "remove_unused_columns": "rows reach TRL tokenised",
    "skip_memory_metrics": "sftrun measures the memory",
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


def bits(recipe: Recipe) -> Iterator[Diagnostic]:
    quantization = recipe.quantization
    if quantization is None:
        return
    if quantization.load_in_4bit and quantization.load_in_8bit:
        yield Diagnostic(
            "R201",
            "`load_in_4bit` and `load_in_8bit` are both true",
            at=("quantization", "load_in_8bit"),
            also=((("quantization", "load_in_4bit"), "4 bits here"),),
            help="keep one of the two",
        )
        return
    if not quantization.load_in_4bit and not quantization.load_in_8bit:
        yield Diagnostic(
            "R213",
            "the section `quantization` quantises nothing",
            at=("quantization",),
            on_key=True,
            help="write `load_in_4bit: true`, or take the section out",
        )
    written = quantization.model_fields_set
    if quantization.load_in_8bit:
        for key in sorted(key for key in written if key.startswith("bnb_4bit_")):
            yield Diagnostic(
                "R214",
                f"`{key}` changes nothing, as the weights are loaded in 8 bits",
                at=("quantization", key),
                on_key=True,
                also=((("quantization", "load_in_8bit"), "8 bits here"),),
                help="take it out, or write `load_in_4bit: true`",
            )
    if recipe.trainer.engine == "unsloth" and quantization.load_in_8bit:
        yield Diagnostic(
            "R221",
            "the engine unsloth does not train 8-bit weights",
            at=("quantization", "load_in_8bit"),
            also=((("trainer", "engine"), "unsloth here"),),
            help="write `load_in_4bit: true`, or `engine: trl`",
        )


def adapters(recipe: Recipe) -> Iterator[Diagnostic]:
    lora, quantization = recipe.lora, recipe.quantization
    is_quantised = quantization is not None and (quantization.load_in_4bit or quantization.load_in_8bit)
    if lora is None:
        if is_quantised:
            yield Diagnostic(
                "R207",
                "quantised weights can't be trained in full",
                at=("quantization",),
                on_key=True,
                help="add `lora: {r: 16, lora_alpha: 16}`, or take `quantization` out",
            )
        return
    if lora.target_modules == ():
        yield Diagnostic(
            "R123", "`lora.target_modules` is empty", at=("lora", "target_modules"), help="write all-linear"
        )
    for key in ("target_modules", "modules_to_save"):
        names = getattr(lora, key)
        for index, name in enumerate(names if isinstance(names, tuple) else ()):
            if name in names[:index]:
                yield Diagnostic("R122", f"`{name}` stands twice", at=("lora", key, index), help="take one out")
    if lora.use_dora and recipe.trainer.engine == "unsloth":
        yield Diagnostic(
            "R208",
            "the engine unsloth has no DoRA",
            at=("lora", "use_dora"),
            also=((("trainer", "engine"), "unsloth here"),),
            help="write `engine: trl`, or `use_dora: false`",
        )
    elif lora.use_dora and quantization is not None and quantization.load_in_8bit:
        yield Diagnostic(
            "R208",
            "DoRA has no kernel for 8-bit weights",
            at=("lora", "use_dora"),
            also=((("quantization", "load_in_8bit"), "8 bits here"),),
            help="write `load_in_4bit: true`, or `use_dora: false`",
        )
    yield from _scale(recipe)


def _scale(recipe: Recipe) -> Iterator[Diagnostic]:
    lora = recipe.lora
    assert lora is not None
    scale = lora.lora_alpha / (lora.r**0.5 if lora.use_rslora else lora.r)
    low, high = (0.25, 32.0) if lora.use_rslora else (0.25, 4.0)
    if not low <= scale <= high:
        root = "sqrt(r)" if lora.use_rslora else "r"
        yield Diagnostic(
            "R232",
            f"lora_alpha / {root} is {scale:g}, and {low:g} to {high:g} is usual",
            at=("lora", "lora_alpha") if "lora_alpha" in lora.model_fields_set else ("lora", "r"),
            severity="warning",
            help=f"write `lora_alpha: {lora.r}`",
        )


def duration(recipe: Recipe) -> Iterator[Diagnostic]:
    trainer = recipe.trainer
    if trainer.max_steps is not None and trainer.num_train_epochs is not None:
        yield Diagnostic(
            "R202",
            f"`max_steps: {trainer.max_steps}` and `num_train_epochs: {trainer.num_train_epochs:g}` can't both hold",
            at=("trainer", "max_steps"),
            also=((("trainer", "num_train_epochs"), "epochs here"),),
            help="keep one of the two; `num_train_epochs: null` takes an inherited one out",
        )
    if trainer.warmup_steps is not None and trainer.warmup_ratio is not None:
        yield Diagnostic(
            "R206",
            "`warmup_steps` and `warmup_ratio` say the same thing twice",
            at=("trainer", "warmup_ratio"),
            also=((("trainer", "warmup_steps"), "steps here"),),
            help="keep one of the two; `warmup_ratio: null` takes an inherited one out",
        )
    elif trainer.warmup_steps and trainer.max_steps is not None and trainer.warmup_steps >= trainer.max_steps:
        yield Diagnostic(
            "R231",
            f"{trainer.warmup_steps} steps of warm-up in a run of {trainer.max_steps}",
            at=("trainer", "warmup_steps"),
            severity="warning",
            also=((("trainer", "max_steps"), f"{trainer.max_steps} steps here"),),
            help="write `warmup_ratio: 0.03` instead",
        )


def precision(recipe: Recipe) -> Iterator[Diagnostic]:
    trainer, dtype = recipe.trainer, recipe.model.dtype
    if trainer.bf16 and trainer.fp16:
        yield Diagnostic(
            "R203",
            "`bf16` and `fp16` are both true",
            at=("trainer", "fp16"),
            also=((("trainer", "bf16"), "bf16 here"),),
            help="keep one of the two",
        )
        return
    clash = (trainer.fp16 and dtype == "bfloat16") or (trainer.bf16 and dtype == "float16")
    if clash and "dtype" in recipe.model.model_fields_set:
        key, fits = ("fp16", "float16") if trainer.fp16 else ("bf16", "bfloat16")
        yield Diagnostic(
            "R220",
            f"`{key}: true` does not go with weights in {dtype}",
            at=("trainer", key),
            also=((("model", "dtype"), f"{dtype} here"),),
            help=f"write `dtype: {fits}`",
        )


def packing(recipe: Recipe) -> Iterator[Diagnostic]:
    kernel = recipe.model.attn_implementation
    if recipe.trainer.packing and kernel in ("sdpa", "eager") and recipe.trainer.engine == "trl":
        yield Diagnostic(
            "R230",
            f"packed rows see each other under `{kernel}`",
            at=("model", "attn_implementation"),
            severity="warning",
            also=((("trainer", "packing"), "packed here"),),
            help="write `attn_implementation: auto`",
        )


def rate(recipe: Recipe) -> Iterator[Diagnostic]:
    value = recipe.trainer.learning_rate
    low, high = (1e-5, 2e-3) if recipe.lora is not None else (1e-7, 2e-4)
    if not isinstance(value, str) and not low <= value <= high:
        method = "adapters" if recipe.lora is not None else "full fine-tuning"
        yield Diagnostic(
            "R233",
            f"a learning rate of {value:g} is unusual for {method}: {low:g} to {high:g} is common",
            at=("trainer", "learning_rate"),
            severity="warning",
            help="write `learning_rate: auto`",
        )


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


def remote_code(recipe: Recipe) -> Iterator[Diagnostic]:
    model = recipe.model
    is_hub = not model.name_or_path.startswith((".", "/", "~", "builtin:"))
    if model.trust_remote_code and is_hub and not known.COMMIT.fullmatch(model.revision or ""):
        yield Diagnostic(
            "S102",
            f"`trust_remote_code` runs whatever code {model.name_or_path} holds on the day",
            at=("model", "trust_remote_code"),
            severity="warning",
            help="pin a commit you have read: `revision: <40 hex digits>`",
        )


def best_model(recipe: Recipe) -> Iterator[Diagnostic]:
    trainer = recipe.trainer
    if not trainer.load_best_model_at_end:
        return
    if trainer.eval_steps is None:
        yield Diagnostic(
            "R205",
            "the best checkpoint can't be told without evaluations on the way",
            at=("trainer", "load_best_model_at_end"),
            help=f"write `eval_steps: {trainer.save_steps}`",
        )
    elif trainer.save_steps % trainer.eval_steps:
        multiple = max(1, round(trainer.save_steps / trainer.eval_steps)) * trainer.eval_steps
        yield Diagnostic(
            "R205",
            f"`save_steps: {trainer.save_steps}` is no multiple of `eval_steps: {trainer.eval_steps}`",
            at=("trainer", "save_steps"),
            also=((("trainer", "eval_steps"), f"{trainer.eval_steps} here"),),
            help=f"write `save_steps: {multiple}`",
        )


TRAINING = (bits, adapters, duration, precision, packing, rate, names, extra, remote_code, best_model)
