"""The settings that only change how fast a step is and what it holds, each with its reason (docs/performance.md).

What is possible and what follows from what is `step`'s; here the recipe's words, and what memory has room for, are
brought to it, and reasons are said.
"""

from sftrun.contract.choices import Attention
from sftrun.contract.stepplan import Place, StepPlan
from sftrun.diagnostics import dotted
from sftrun.facts.model import capabilities
from sftrun.facts.values import DataFacts, Facts, ModelFacts
from sftrun.plan.decide.decisions import Decisions, Device, Room
from sftrun.plan.estimate import lengths
from sftrun.plan.estimate.known_rows import source_rows
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source
from sftrun.step import attention_kernel, compiling, configurations, place, rules
from sftrun.step.given import Machine, Model, Settings


def step_plan(
    recipe: Recipe, facts: Facts, device: Device, given: Settings, steps: int | None, room: Room, said: Decisions
) -> StepPlan:
    """How each step is computed.  `given`: the sections as decided, and whether weights are sharded; `steps`: of the
    run, if known.
    """
    model, machine = model_of(facts.model), device.machine(recipe.compute.nodes)
    given = given._replace(
        attention=_attention(recipe, given, model, machine, said), liger=recipe.trainer.use_liger_kernel is True
    )
    if attention_kernel.has_varlen_kernel(given, model, machine):
        given = given._replace(compiled=_compiled(given, steps, said))
    given = given._replace(
        checkpointed=_checkpointed(recipe, device, given.compiled, room, said),
        dequantized=_dequantized(room, said),
        cuda_graphs=_cuda_graphs(room, said),
        preparing=_preparing(recipe, facts, said),
    )
    _say_liger(recipe, device, given, said)
    found = rules.step_plan(given, model, machine)
    _say_rest(found, device, given, said)
    return found


def model_of(facts: ModelFacts | None) -> Model:
    """Of a model's facts those that decide how it is computed; the usual where none could be had."""
    if facts is None:
        return Model()
    found = capabilities.find(facts.model_type) or capabilities.Capabilities({})
    return Model(
        keeps_rows_apart=found.keeps_rows_apart,
        has_sdpa=found.has_sdpa,
        head_dim=facts.head_dim,
        vocab_size=facts.vocab_size,
        caps_scores=facts.softcapping,
        drops_attention=facts.drops_attention,
        scales_logits=facts.scaled_logits,
        balances_experts=configurations.balances_experts(facts.model_type),
        head_has_bias=any(other.kind == "head" and other.bias_parameters for other in facts.others),
        has_biases=any(x.bias for x in facts.linears) or any(other.bias_parameters for other in facts.others),
    )


def sharded(recipe: Recipe, device: Device, room: Room, said: Decisions) -> bool:
    """Whether the GPUs share the weights out among them: as written, else where one has no room for all."""
    written = recipe.trainer.extra.get("fsdp")
    if device.gpus > 1 and written is None and room.fsdp is not None:
        said.say("step.sharding", "fsdp" if room.fsdp.value else "ddp", room.fsdp.reason)
        return room.fsdp.value
    if written and device.gpus < 2:
        reason = "one GPU has no other to share the weights with" if device.is_gpu else "no GPU"
        said.say("step.sharding", "one", reason)
    return device.gpus > 1 and bool(written)


def packing(recipe: Recipe, train: DataFacts | None, gpus: int, steps: int | None, said: Decisions) -> bool:
    """As written; what it makes of a step is said, and nothing is changed to make up for it."""
    t = recipe.trainer
    if t.packing:
        said.say("trainer.packing", True, f"{_packed_step(recipe, train, gpus, steps)}; `learning_rate` stays")
    return t.packing


def micro_batches(recipe: Recipe, room: Room, said: Decisions) -> tuple[int, int]:
    """(rows or sequences at once, how often a step): one large micro-batch where it fits, of the same rows."""
    rows, accumulation = recipe.trainer.per_device_train_batch_size, recipe.trainer.gradient_accumulation_steps
    if room.at_once is None:
        return rows, accumulation
    if room.at_once.value:
        rows, accumulation = rows * accumulation, 1
    said.say("trainer.gradient_accumulation_steps", accumulation, room.at_once.reason)
    return rows, accumulation


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


def _attention(recipe: Recipe, given: Settings, model: Model, machine: Machine, said: Decisions) -> Attention:
    """The attention kernel: rows that share a sequence never see each other, whatever is chosen."""
    wanted = recipe.model.attn_implementation
    if wanted != "auto":
        return wanted
    kernel = attention_kernel.choose(given, model, machine)
    said.say("model.attn_implementation", kernel.name, kernel.reason)
    return kernel.name


def _compiled(given: Settings, steps: int | None, said: Decisions) -> bool:
    """Whether each decoder layer is compiled, where variable-length attention makes it possible."""
    obstacle = compiling.uncompiled_because(given, steps)
    said.say("step.compiled", obstacle is None, obstacle or "worth its 11 to 60 s at the start")
    return obstacle is None


def _checkpointed(recipe: Recipe, device: Device, compiled: bool, room: Room, said: Decisions) -> bool:
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


def _dequantized(room: Room, said: Decisions) -> bool:
    """4-bit weights dequantised once for all steps, where memory has room for them."""
    if room.dequantized is None:
        return False
    said.say("step.dequantized", room.dequantized.value, room.dequantized.reason)
    return room.dequantized.value


def _cuda_graphs(room: Room, said: Decisions) -> bool:
    """Steps replayed as CUDA graphs where launching their kernels one by one could hold the GPU up."""
    if room.cuda_graphs is None:
        return False
    said.say("step.cuda_graphs", room.cuda_graphs.value, room.cuda_graphs.reason)
    return room.cuda_graphs.value


def _preparing(recipe: Recipe, facts: Facts, said: Decisions) -> Place:
    """Where rows are tokenised: apart from the job where they are many, or it is not known how many."""
    is_rented = recipe.place.rents
    from_hub = any(source.hub is not None for source in recipe.dataset.sources.values())
    size = _row_bytes(recipe, facts)
    found = place.preparing(is_rented, recipe.trainer.library, from_hub, size)
    if found != "job":
        rows = (
            "the Hub's rows" if from_hub else "rows of unknown size" if size is None else f"{size / 1e6:.0f} MB of rows"
        )
        when = "before there is a GPU to wait for them" if found == "container" else "while the model loads"
        said.say("step.preparing", found, f"{rows} are tokenised {when}")
    return found


def _row_bytes(recipe: Recipe, facts: Facts) -> float | None:
    """Of all sources' files, as found or as declared; None where one is not known."""
    sizes = [_bytes(facts.of(dotted(at)).rows, source) for at, source in recipe.dataset.sources.items()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _bytes(found: DataFacts | None, source: Source) -> float | None:
    if found is not None and found.bytes:
        return float(found.bytes)
    data = source_rows(found, source)
    tokens = None if data is None else data.tokens if data.mean_tokens is None else data.rows * data.mean_tokens
    return None if tokens is None else tokens * place.BYTES_A_TOKEN


def _say_liger(recipe: Recipe, device: Device, given: Settings, said: Decisions) -> None:
    """Liger's kernels are as written; the compiler makes its own."""
    if recipe.trainer.use_liger_kernel == "auto" and device.is_gpu:
        reason = "compiled layers are faster" if given.compiled else "taken where it is asked for alone"
        said.say("trainer.use_liger_kernel", False, reason)


def _say_rest(step: StepPlan, device: Device, given: Settings, said: Decisions) -> None:
    """What followed, where something else could be expected."""
    if step.layout == "padding_free":
        said.say("step.layout", step.layout, "the same rows a step and the same loss, without computing on padding")
    if step.unfused_because is not None and device.is_gpu and given.trainer.library.runs_our_step:
        said.say("step.fused_lora", False, f"LoRA's products stay PEFT's: {step.unfused_because}")


def _packed_step(recipe: Recipe, train: DataFacts | None, gpus: int, steps: int | None) -> str:
    t = recipe.trainer
    sequences = t.per_device_train_batch_size * t.gradient_accumulation_steps * max(gpus, 1)
    found = None if train is None else lengths.of(train, t.max_length)
    if train is None or found is None:
        return (
            f"a step takes {sequences} sequences of {t.max_length} tokens with as many rows as fit, so steps are fewer"
        )
    rows = t.max_length * lengths.packed_share(found, t.max_length, train.rows_learnt) / found.mean * sequences
    words = f"a step takes {sequences} sequences, about {rows:.0f} rows of {found.mean:.0f} tokens"
    if t.max_steps is not None or steps is None:
        return f"{words}, not {sequences} rows"
    learnt = train.rows_learnt * (1 - (recipe.dataset.eval_fraction or 0)) * (t.num_train_epochs or 1)
    return f"{words}, so the run takes {steps} steps and not about {round(learnt / sequences)}"
