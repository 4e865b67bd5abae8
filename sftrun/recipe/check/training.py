"""What belongs together in `model`, `quantization`, `lora` and `trainer`."""

from collections.abc import Iterator

from sftrun import builtin
from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe import known
from sftrun.recipe.models import Recipe


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
    if quantization.load_in_8bit and not recipe.trainer.library.can_train_in_8bit:
        yield Diagnostic(
            "R221",
            f"the engine {recipe.trainer.engine} does not train 8-bit weights",
            at=("quantization", "load_in_8bit"),
            also=((("trainer", "engine"), f"{recipe.trainer.engine} here"),),
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
        elif not recipe.trainer.library.can_train_all_weights:
            yield Diagnostic(
                "R222",
                f"the engine {recipe.trainer.engine} trains adapters only",
                at=("trainer", "engine"),
                help="add `lora: {r: 16, lora_alpha: 16}`, or write `engine: trl`",
            )
        return
    if lora.target_modules == ():
        yield Diagnostic(
            "R123", "`lora.target_modules` is empty", at=("lora", "target_modules"), help="write all-linear"
        )
    for key in ("target_modules", "exclude_modules", "layers_to_transform", "modules_to_save"):
        names = getattr(lora, key)
        for index, name in enumerate(names if isinstance(names, tuple) else ()):
            if name in names[:index]:
                yield Diagnostic("R122", f"`{name}` stands twice", at=("lora", key, index), help="take one out")
    if lora.use_dora and not recipe.trainer.library.can_use_dora:
        yield Diagnostic(
            "R208",
            f"the engine {recipe.trainer.engine} has no DoRA",
            at=("lora", "use_dora"),
            also=((("trainer", "engine"), f"{recipe.trainer.engine} here"),),
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
    if clash:
        key, fits = ("fp16", "float16") if trainer.fp16 else ("bf16", "bfloat16")
        yield Diagnostic(
            "R220",
            f"`{key}: true` does not go with weights in {dtype}",
            at=("trainer", key),
            also=((("model", "dtype"), f"{dtype} here"),),
            help=f"write `dtype: {fits}`",
        )
    elif trainer.fp16:
        yield from trained_in_float16(recipe, also=((("trainer", "fp16"), "fp16 here"),))


def trained_in_float16(recipe: Recipe, also: tuple[tuple[Path, str], ...]) -> Iterator[Diagnostic]:
    """Under steps in float16, for the reason in `also`, weights that are trained themselves must be wider."""
    model = recipe.model
    if recipe.lora is None and model.dtype == "float16":
        message = "steps in float16 scale the loss, which weights trained in float16 can't take"
        yield Diagnostic("R220", message, at=("model", "dtype"), also=also, help="write `dtype: float32`")


def rounded(recipe: Recipe) -> Iterator[Diagnostic]:
    """All weights trained in 16 bits; several GPUs may share them out, in 32 (`several_gpus`)."""
    names = (recipe.compute.gpu,) if isinstance(recipe.compute.gpu, str) else recipe.compute.gpu or ()
    if recipe.lora is None and recipe.model.dtype == "bfloat16" and not any(":" in name for name in names):
        yield rounded_away(recipe)


def rounded_away(recipe: Recipe) -> Diagnostic:
    """What bfloat16 makes of the steps of trained weights."""
    from sftrun.step.precision import unmoved  # with all that steps are planned from, which few recipes' checks want

    value = known.rate(recipe.trainer.learning_rate, is_full=True)
    message = f"all weights are trained in bfloat16: at a learning rate of {value:g} those above "
    return Diagnostic(
        "R234",
        f"{message}{unmoved(value):.1g} never move, as each step is rounded away",
        at=("model", "dtype"),
        severity="warning",
        help="write `dtype: auto`, which keeps them in float32 and computes in bfloat16",
    )


def rate(recipe: Recipe) -> Iterator[Diagnostic]:
    value = recipe.trainer.learning_rate
    if recipe.model.name_or_path.startswith(builtin.PREFIX):
        return  # what is usual holds for models of the usual size
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


def builtin_model(recipe: Recipe) -> Iterator[Diagnostic]:
    name = recipe.model.name_or_path
    if name.startswith(builtin.PREFIX) and name.removeprefix(builtin.PREFIX) not in builtin.NAMES:
        names = ", ".join(f"`{builtin.PREFIX}{one}`" for one in builtin.NAMES)
        message = f"`{name}` does not ship with sftrun"
        yield Diagnostic("M108", message, at=("model", "name_or_path"), help=f"write {names}")


TRAINING = (bits, adapters, duration, precision, rounded, rate, remote_code, builtin_model)
