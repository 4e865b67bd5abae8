"""The GPU's name and number, time, memory, machines."""

import re
from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic, Path
from sftrun.recipe import known
from sftrun.recipe.check.training import trained_in_float16
from sftrun.recipe.models import Recipe
from sftrun.recipe.words import hints
from sftrun.recipe.words.names import nearest
from sftrun.units import mebibytes


def gpus(recipe: Recipe) -> Iterator[Diagnostic]:
    wanted = recipe.compute.gpu
    if wanted == ():
        yield Diagnostic(
            "R123", "`compute.gpu` is an empty list", at=("compute", "gpu"), help="write `gpu: none` for CPU"
        )
    listed = wanted if isinstance(wanted, tuple) else (wanted,) if wanted is not None else ()
    for index, name in enumerate(listed):
        at: Path = ("compute", "gpu", index) if isinstance(wanted, tuple) else ("compute", "gpu")
        if name != "none" or isinstance(wanted, tuple):
            yield from _gpu(name, at, recipe)
        if name in listed[:index]:
            yield Diagnostic("R122", f"`{name}` stands twice", at=at, help="take one out")
        first, mine = _right_count(listed[0]), _right_count(name)
        if first is not None and mine is not None and first != mine:
            message = f"`{name}` is another number of GPUs than `{listed[0]}`, and rows a step depend on it"
            help = f"write `{name.partition(':')[0]}:{first}`" if first > 1 else f"write `{name.partition(':')[0]}`"
            yield Diagnostic("G109", message, at=at, also=((("compute", "gpu", 0), "first here"),), help=help)


def _count(text: str) -> int | None:
    """How many GPUs are written behind the name; None where that is no number."""
    _, colon, count = text.partition(":")
    return 1 if not colon else int(count) if re.fullmatch(r"[1-9][0-9]{0,5}", count) else None


def _most(text: str) -> int:
    """How many GPUs of the name a container holds."""
    return known.FEWER_GPUS.get(text.partition(":")[0], known.MOST_GPUS)


def _right_count(text: str) -> int | None:
    """How many GPUs; None where that is wrong by itself."""
    found = _count(text)
    return found if found is not None and found <= _most(text) else None


def _gpu(text: str, at: Path, recipe: Recipe) -> Iterator[Diagnostic]:
    name, colon, count = text.partition(":")
    if name not in known.GPUS:
        near = nearest(name, (*known.GPUS, "none"), 0.5)
        meant = "none" if text.lower() in known.NO_GPU else hints.gpu(text)
        if meant is None and near:
            meant = f"{near}{colon}{count}"
        help = f"did you mean `{meant}`?" if meant else f"one of {', '.join(known.GPUS)}"
        yield Diagnostic("G101", f"`{text[:40]}` is no GPU that Modal rents", at=at, help=help)
        return
    found, most = _count(text), _most(text)
    if found is None:
        message = f"`{count[:20]}` is no number of GPUs"
        yield Diagnostic("G102", message, at=at, help=f"write `{name}:{most}` or less")
    elif found > most:
        message = f"a container holds at most {most} of {name}, not {count}"
        yield Diagnostic("G102", message, at=at, help=f"write `{name}:{most}` or less")
    elif found > 1 and not recipe.trainer.library.can_use_several_gpus:
        yield Diagnostic(
            "R209",
            f"the engine {recipe.trainer.engine} trains on one GPU, not on {count}",
            at=at,
            also=((("trainer", "engine"), f"{recipe.trainer.engine} here"),),
            help=f"write `gpu: {name}`, or `engine: trl`",
        )
    yield from _abilities(name, at, recipe)


def _abilities(name: str, at: Path, recipe: Recipe) -> Iterator[Diagnostic]:
    kernel = recipe.model.attn_implementation
    if name in known.NO_BF16:
        yield from without_bf16(name, recipe, also=((at, f"{name} here"),))
    needs_hopper = kernel == "flash_attention_3" and name not in known.HOPPER
    needs_ampere = kernel in ("flash_attention_2", "varlen") and name in known.NO_BF16
    if needs_hopper or needs_ampere:
        yield Diagnostic(
            "G105",
            f"{name} can't run `{kernel}`",
            at=("model", "attn_implementation"),
            also=((at, f"{name} here"),),
            help="write `attn_implementation: auto`",
        )


def without_bf16(name: str, recipe: Recipe, also: tuple[tuple[Path, str], ...] = ()) -> Iterator[Diagnostic]:
    """What asks for bfloat16 in so many words, for a GPU that has none; what does not is resolved to float16."""
    model, quantization, trainer = recipe.model, recipe.quantization, recipe.trainer
    if trainer.bf16 is None and trainer.fp16 is None:
        yield from trained_in_float16(recipe, also)
    weights = "float32" if recipe.lora is None else "float16"
    if trainer.bf16:
        help = "write `fp16: true` instead, or take it out"
        yield Diagnostic("G104", f"{name} has no bfloat16", at=("trainer", "bf16"), also=also, help=help)
    if model.dtype == "bfloat16":
        message, help = f"{name} has no bfloat16, the type of the weights", f"write `dtype: {weights}`, or take it out"
        yield Diagnostic("G104", message, at=("model", "dtype"), also=also, help=help)
    key = "bnb_4bit_compute_dtype"
    if quantization is None or not quantization.load_in_4bit or key not in quantization.model_fields_set:
        return
    if quantization.bnb_4bit_compute_dtype == "bfloat16":
        message = f"{name} has no bfloat16, the type of products with 4-bit weights"
        help = f"write `{key}: float16`, or take it out"
        yield Diagnostic("G104", message, at=("quantization", key), also=also, help=help)


def machines(recipe: Recipe) -> Iterator[Diagnostic]:
    compute, at = recipe.compute, ("compute", "nodes")
    if compute.nodes == 1:
        return
    names = (compute.gpu,) if isinstance(compute.gpu, str) else compute.gpu or ()
    full = [
        name for name in names if name.endswith(f":{known.FEWER_GPUS.get(name.partition(':')[0], known.MOST_GPUS)}")
    ]
    if not recipe.place.can_cluster:
        message, help = f"the {recipe.executor} executor is one machine, not {compute.nodes}", "write `nodes: 1`"
    elif not recipe.trainer.library.can_use_several_gpus:
        message = f"the engine {recipe.trainer.engine} trains on one machine, not {compute.nodes}"
        help = "write `engine: trl`"
    elif not names or len(full) < len(names):
        message, help = f"{compute.nodes} machines must have all their GPUs", "write `gpu: H100:8`"
    elif compute.nodes > known.MOST_NODES:
        message = f"a cluster holds at most {known.MOST_NODES} machines, not {compute.nodes}"
        help = f"write `nodes: {known.MOST_NODES}` or less"
    elif recipe.trainer.extra.get("fsdp"):
        message = "weights sharded over machines (`fsdp`) can't be saved whole"
        help = "take `fsdp` out of `trainer.extra`, or write `nodes: 1`"
    else:
        return
    yield Diagnostic("R217", message, at=at, help=help)


def sharding(recipe: Recipe) -> Iterator[Diagnostic]:
    """What FSDP, asked for in `trainer.extra`, can't do here."""
    extra, quantization, optim = recipe.trainer.extra, recipe.quantization, recipe.trainer.optim
    yield from _options(extra.get("fsdp_config"), ("trainer", "extra", "fsdp_config"))
    written, at = extra.get("fsdp"), ("trainer", "extra", "fsdp")
    if not written:
        return
    if quantization is not None and quantization.load_in_8bit:
        message, help = "8-bit weights can't be sharded over GPUs (`fsdp`)", "write `load_in_4bit: true` instead"
        yield Diagnostic("R218", message, at=("quantization", "load_in_8bit"), also=((at, "here"),), help=help)
    if optim not in known.SHARDED_OPTIMIZERS:
        message = f"`{optim}` can't update weights that are sharded over GPUs (`fsdp`)"
        at_optim: Path = ("trainer", "optim")
        yield Diagnostic("R218", message, at=at_optim, also=((at, "here"),), help="write `optim: adamw_torch_fused`")
    words = written.split() if isinstance(written, str) else ()
    if "offload" in words:
        yield Diagnostic("R218", _OFFLOADED, at=at, help="write `fsdp: true`")
    elif strange := [word for word in words if word not in known.FSDP_WORDS]:
        yield Diagnostic("R218", f"FSDP2 has no `{strange[0][:40]}`", at=at, help="write `fsdp: true`")


def _options(given: object, at: Path) -> Iterator[Diagnostic]:
    """Of `fsdp_config`, with or without the libraries' prefix."""
    if isinstance(given, str):
        help = "write `fsdp_config: {reshard_after_forward: false}`"
        yield Diagnostic("R218", "a file of options is not read where the job runs", at=at, help=help)
    for key, value in given.items() if isinstance(given, dict) else ():
        name, here = key.removeprefix("fsdp_"), (*at, key)
        if name == "version" and str(value) != "2":
            yield Diagnostic("R218", f"FSDP {value} is not supported, FSDP2 is", at=here, help="write `version: 2`")
        elif name == "cpu_offload" and value:
            yield Diagnostic("R218", _OFFLOADED, at=here, on_key=True, help="take it out")
        elif name == "activation_checkpointing":
            help = "write `trainer.gradient_checkpointing` instead"
            yield Diagnostic("R218", f"`{key}` has a place of its own in a recipe", at=here, on_key=True, help=help)
        elif name == "reshard_after_forward" and not isinstance(value, bool):
            message = f"`{key}` is true or false, not `{str(value)[:40]}`"
            yield Diagnostic(
                "R218", message, at=here, help="write `true`, or `false` to keep weights after the forward pass"
            )
        elif name == "auto_wrap_policy" and value not in known.FSDP_WRAPS:
            message, help = (
                f"`{str(value)[:40]}` is no policy that wraps layers",
                f"write one of {', '.join(known.FSDP_WRAPS)}",
            )
            yield Diagnostic("R218", message, at=here, help=help)
        elif name not in known.FSDP_OPTIONS:
            near = nearest(name, known.FSDP_OPTIONS)
            help = f"did you mean `{near}`?" if near else f"one of {', '.join(known.FSDP_OPTIONS)}"
            yield Diagnostic("R218", f"`{key}` is no option that is obeyed here", at=here, on_key=True, help=help)


_OFFLOADED = "weights that are sharded over GPUs (`fsdp`) can't lie in the machine's memory"


def timeout(recipe: Recipe) -> Iterator[Diagnostic]:
    value, at = recipe.compute.timeout, ("compute", "timeout")
    match = known.DURATION.fullmatch(str(value).strip())
    if match is None:
        yield Diagnostic(
            "C105", f"`{str(value)[:40]}` is no duration", at=at, help="write `24h`, `30m`, `90s` or seconds"
        )
        return
    seconds = int(match[1]) * known.SECONDS[match[2].lower()]
    low, high = known.TIMEOUT_SECONDS
    if not low <= seconds <= high:
        help = "write `24h`; `retries` lets a longer run go on" if seconds > high else "write `1s` or more"
        yield Diagnostic("C101", f"an attempt lasts from 1 s to 24 h, not `{value}`", at=at, help=help)


def memory(recipe: Recipe) -> Iterator[Diagnostic]:
    value, at = recipe.compute.memory, ("compute", "memory")
    if isinstance(value, str) and not known.MEMORY.fullmatch(value.strip()):
        message = f"`{value[:40]}` is no size of memory"
        yield Diagnostic("R120", message, at=at, help="write `16GiB`, or MiB as a number")
    elif (mebibytes(value) or 0) > 1024 * known.MOST_GIB:
        message = f"a container has at most {known.MOST_GIB} GiB of memory, not `{str(value)[:40]}`"
        yield Diagnostic("R120", message, at=at, help=f"write `{known.MOST_GIB}GiB` or less")


COMPUTE = (gpus, machines, sharding, timeout, memory)
