"""The settings that only change how fast a step is and what it holds, each with its reason (docs/performance.md).

Compiled layers need variable-length attention and no other kernels in them (Liger's fail under the compiler), and were
not measured with 8-bit weights or with weights spread over GPUs.  The compiler does the checkpointing by itself then.
"""

from sftrun.contract.choices import Attention
from sftrun.facts.values import DataFacts, ModelFacts
from sftrun.plan.decide.decisions import Decisions, Device, Room
from sftrun.plan.estimate import lengths
from sftrun.recipe.models import Recipe

# below this many steps the 11-60 s that compiling costs are not earned back
STEPS_WORTH_COMPILING = 200
LARGEST_HEAD = 256  # of FlashAttention, which `varlen` runs; a multiple of 8


def attention(recipe: Recipe, device: Device, model: ModelFacts | None, said: Decisions) -> Attention:
    """The attention kernel: rows that share a sequence never see each other, whatever is chosen."""
    wanted = recipe.model.attn_implementation
    if wanted != "auto":
        return wanted
    value, reason = _kernel(recipe, device, model)
    said.say("model.attn_implementation", value, reason)
    return value


def fsdp(recipe: Recipe, device: Device, room: Room, said: Decisions) -> bool:
    """Whether the GPUs share the weights out among them: as written, else where one has no room for all."""
    written = recipe.trainer.extra.get("fsdp")
    if device.gpus < 2 or written is not None:
        return device.gpus > 1 and bool(written)
    if room.fsdp is None:
        return False
    said.say("trainer.fsdp", room.fsdp.value, room.fsdp.reason)
    return room.fsdp.value


def compile_layers(
    recipe: Recipe, device: Device, kernel: Attention, steps: int | None, is_sharded: bool, said: Decisions
) -> bool:
    """Whether each decoder layer is compiled; said where variable-length attention makes it possible."""
    t, quantization = recipe.trainer, recipe.quantization
    if kernel != "varlen" or not device.has_varlen:
        return False
    obstacles = {
        "Unsloth compiles by itself": t.engine != "trl",
        "Liger's kernels, which you asked for, fail under the compiler": t.use_liger_kernel is True,
        "not measured with 8-bit weights": quantization is not None and quantization.load_in_8bit,
        "not measured with weights spread over GPUs": is_sharded,
        f"{steps} steps don't earn back the compiling": steps is not None and steps < STEPS_WORTH_COMPILING,
    }
    obstacle = next((words for words, stands in obstacles.items() if stands), None)
    said.say("trainer.compile_layers", obstacle is None, obstacle or "worth its 11 to 60 s at the start")
    return obstacle is None


def padding_free(recipe: Recipe, device: Device, kernel: Attention, said: Decisions) -> bool:
    """Rows end to end where the kernel can; packing brings it along by itself."""
    t = recipe.trainer
    if kernel != "varlen" or not device.has_varlen or t.packing or t.engine != "trl":
        return False
    said.say("trainer.padding_free", True, "the same rows a step and the same loss, without computing on padding")
    return True


def packing(recipe: Recipe, train: DataFacts | None, gpus: int, steps: int | None, said: Decisions) -> bool:
    """As written; what it makes of a step is said, and nothing is changed to make up for it."""
    t = recipe.trainer
    if t.packing:
        said.say("trainer.packing", True, f"{_packed_step(recipe, train, gpus, steps)}; `learning_rate` stays")
    return t.packing


def checkpointing(recipe: Recipe, device: Device, compiled: bool, room: Room, said: Decisions) -> bool:
    """Recompute activations only where there is no room to keep them."""
    wanted = recipe.trainer.gradient_checkpointing
    if wanted != "auto":
        return wanted
    chosen = room.checkpointing
    if chosen is None or not device.is_gpu:
        return False
    by_compiler = "; the compiler recomputes, all but a layer's last product" if chosen.value and compiled else ""
    said.say("trainer.gradient_checkpointing", chosen.value, chosen.reason + by_compiler)
    return chosen.value


def dequantize(room: Room, said: Decisions) -> bool:
    """4-bit weights dequantised once for all steps, where memory has room for them."""
    if room.dequantize is None:
        return False
    said.say("trainer.dequantize", room.dequantize.value, room.dequantize.reason)
    return room.dequantize.value


def micro_batches(recipe: Recipe, room: Room, said: Decisions) -> tuple[int, int]:
    """(rows or sequences at once, how often a step): one large micro-batch where it fits, of the same rows."""
    rows, accumulation = recipe.trainer.per_device_train_batch_size, recipe.trainer.gradient_accumulation_steps
    if room.at_once is None:
        return rows, accumulation
    if room.at_once.value:
        rows, accumulation = rows * accumulation, 1
    said.say("trainer.gradient_accumulation_steps", accumulation, room.at_once.reason)
    return rows, accumulation


def cuda_graphs(room: Room, said: Decisions) -> bool:
    """Steps replayed as CUDA graphs where launching their kernels one by one could hold the GPU up."""
    if room.cuda_graphs is None:
        return False
    said.say("trainer.cuda_graphs", room.cuda_graphs.value, room.cuda_graphs.reason)
    return room.cuda_graphs.value


def liger(recipe: Recipe, device: Device, compiled: bool, said: Decisions) -> bool:
    """Liger's kernels, as written; the compiler makes its own."""
    wanted = recipe.trainer.use_liger_kernel
    if wanted != "auto":
        return wanted
    if device.is_gpu:
        reason = "compiled layers are faster" if compiled else "taken where it is asked for alone"
        said.say("trainer.use_liger_kernel", False, reason)
    return False


def optim(recipe: Recipe, device: Device, said: Decisions) -> str:
    """As written; without a GPU its twin that pages nothing."""
    wanted = recipe.trainer.optim
    if "optim" not in recipe.trainer.model_fields_set and device.is_gpu:
        reason = "one kernel updates all weights; an adapter's states are too small for 8 bits to matter"
        if recipe.lora is None:
            reason = "one kernel updates all weights; an 8-bit optimiser would need less memory and round its states"
        said.say("trainer.optim", wanted, reason)
    if device.is_gpu or not wanted.startswith("paged_"):
        return wanted
    plain = wanted.removeprefix("paged_")
    said.say("trainer.optim", plain, f"without a GPU there is nothing to page; the steps of `{wanted}` are the same")
    return plain


def _kernel(recipe: Recipe, device: Device, model: ModelFacts | None) -> tuple[Attention, str]:
    if recipe.trainer.engine == "unsloth":
        return "sdpa", "the unsloth engine brings its own attention"
    if model is not None and model.softcapping:
        return "eager", "the model caps attention scores, which the faster kernels here don't"
    if model is not None and (model.head_dim > LARGEST_HEAD or model.head_dim % 8):
        return "sdpa", f"heads of {model.head_dim} are too large or odd for variable-length attention"
    if device.has_varlen:
        return "varlen", "rows lie end to end without padding, each sees only itself"
    if recipe.trainer.packing:
        return "varlen", "packed rows must not see each other; a mask keeps them apart here"
    return "sdpa", "the fastest for padded batches on this device"


def _packed_step(recipe: Recipe, train: DataFacts | None, gpus: int, steps: int | None) -> str:
    t = recipe.trainer
    sequences = t.per_device_train_batch_size * t.gradient_accumulation_steps * max(gpus, 1)
    spread = None if train is None else lengths.of(train, t.max_length)
    if train is None or spread is None:
        return (
            f"a step takes {sequences} sequences of {t.max_length} tokens with as many rows as fit, so steps are fewer"
        )
    rows = t.max_length * lengths.packed_share(spread, t.max_length, train.rows) / spread.mean * sequences
    words = f"a step takes {sequences} sequences, about {rows:.0f} rows of {spread.mean:.0f} tokens"
    if t.max_steps is not None or steps is None:
        return f"{words}, not {sequences} rows"
    learnt = train.rows * (1 - (recipe.dataset.eval_fraction or 0)) * (t.num_train_epochs or 1)
    return f"{words}, so the run takes {steps} steps and not about {round(learnt / sequences)}"
