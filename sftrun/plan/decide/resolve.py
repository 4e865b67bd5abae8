"""Each `auto` and each absent key that matters -> a value and its reason.

What changes the result (rows a step, order, rounding) is taken as written; what only changes speed or memory may be
chosen here, and is said.  A decision that had nothing to choose from is no decision and is not listed.
"""

from typing import Any, Literal

from sftrun import units
from sftrun.contract.choices import METRICS, DataFormat, Dtype
from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, SampleSpec, TrainerSpec
from sftrun.contract.row_rules import RowRules
from sftrun.facts.gpus import catalog
from sftrun.facts.values import DataFacts, Facts, ModelFacts
from sftrun.plan import peft_names
from sftrun.plan.decide import speed
from sftrun.plan.decide.decisions import Decisions, Device, Room
from sftrun.plan.decide.often import Intervals
from sftrun.plan.types import ComputePlan
from sftrun.recipe import known
from sftrun.recipe.labelling import OBEYED, row_rules
from sftrun.recipe.models import Recipe
from sftrun.step.precision import unmoved

FSDP_KEYS = ("fsdp", "fsdp_config")  # of `trainer.extra`: on one GPU transformers refuses them
_AS_STEPS = "as the steps"


def compute(recipe: Recipe, facts: Facts, said: Decisions) -> tuple[ComputePlan, Device]:
    """Where it runs, and on what."""
    choices = units.gpu_choices(recipe.compute.gpu)
    if recipe.compute.executor == "auto":
        reason = (
            "no `volumes`, GPU or `secrets` of Modal are named" if recipe.place.is_here else "it names what is Modal's"
        )
        said.say("compute.executor", recipe.executor, reason)
    local = recipe.place.is_here
    device = _local_device(recipe, facts, said) if local else _rented_device(choices, facts)
    plan = ComputePlan(
        executor=recipe.executor,
        gpus=() if local else tuple(name for name, _ in choices),
        gpu_count=device.gpus,
        nodes=recipe.compute.nodes,
        timeout_seconds=units.seconds(recipe.compute.timeout),
        cpu=recipe.compute.cpu,
        memory_mib=units.mebibytes(recipe.compute.memory),
        retries=recipe.compute.retries,
        region=recipe.compute.region,
        machine_usd_per_second=facts.machine.usd_per_hour / 3600,
    )
    return plan, device


def _rented_device(choices: tuple[tuple[str, int], ...], facts: Facts) -> Device:
    if not choices:
        return Device(None, 0)
    known = [catalog.find(facts.catalog, name) for name, _ in choices]
    without_bf16 = next((gpu.name for gpu in known if gpu is not None and not gpu.has_bf16), None)
    (name, count), first = choices[0], known[0]
    return Device(first.name if first is not None else name, count, without_bf16)


def _local_device(recipe: Recipe, facts: Facts, said: Decisions) -> Device:
    machine = facts.machine
    wanted = units.gpu_choices(recipe.compute.gpu)
    declined = recipe.compute.gpu is not None and not wanted
    if declined or machine.gpu_count == 0:
        if wanted:
            said.say("compute.gpu", "none", f"this machine has no GPU; `{wanted[0][0]}` holds for the modal executor")
        return Device(None, 0)
    count = min(wanted[0][1] if wanted else 1, machine.gpu_count)
    said.say("compute.gpu", f"{machine.gpu_name}:{count}", "the GPU of this machine")
    return Device(machine.gpu_name, count, None if machine.has_bf16 else machine.gpu_name)


def rows(recipe: Recipe, facts: Facts, said: Decisions) -> RowRules:
    """How rows become tokens and labels."""
    rules = row_rules(recipe, facts.chat_template)
    for key, found in (("train", facts.train), ("eval", facts.eval)):
        names = {} if found is None else found.found_names
        if names:
            listed = ", ".join(f"{ours}: {theirs}" for ours, theirs in names.items())
            said.say(f"dataset.{key}.columns", f"{{{listed}}}", "names of a known form, by the first row")
    return rules.model_copy(update={"format": _format(recipe, facts, said)})


def ends(train: DataFacts | None, said: Decisions) -> None:
    """A note where turns end with another token than the tokenizer's own end of a text."""
    eos = None if train is None else train.eos_token
    others = [end for end in (() if train is None else train.ends) if end != eos]
    if eos is not None and others:
        reason = f"turns are trained to end with it, and the tokenizer's `eos_token` is {eos}: answers stop at both"
        said.say("generation_config.eos_token_id", ", ".join(others), reason)


def _format(recipe: Recipe, facts: Facts, said: Decisions) -> DataFormat | Literal["auto"]:
    """The form of the rows; stays `auto` where the data is out of reach."""
    if recipe.dataset.format != "auto":
        return recipe.dataset.format
    if facts.train is not None and facts.train.format is not None:
        said.say("dataset.format", facts.train.format, "by the columns of the first row")
        return facts.train.format
    said.say("dataset.format", "auto", "the data can't be read from here; the job looks at the columns")
    return "auto"


def step_dtype(recipe: Recipe, device: Device, said: Decisions) -> Dtype | None:
    """What the steps are computed in, where that is not the weights' own type."""
    t = recipe.trainer
    if t.bf16 is not None or t.fp16 is not None:
        return "bfloat16" if t.bf16 else "float16" if t.fp16 else None
    if not device.is_gpu:
        said.say("trainer.bf16", False, "a CPU computes faster in the model's own type")
        return None
    if device.without_bf16 is None:
        said.say("trainer.bf16", True, f"{device.name} has bfloat16, which needs no loss scaling")
        return "bfloat16"
    said.say("trainer.fp16", True, f"{device.without_bf16} has no bfloat16")
    return "float16"


def model(recipe: Recipe, step: Dtype | None, said: Decisions) -> ModelSpec:
    """The base model's keyword arguments."""
    return ModelSpec(
        name_or_path=recipe.model.name_or_path,
        revision=recipe.model.revision,
        dtype=_dtype(recipe, step, said),
        trust_remote_code=recipe.model.trust_remote_code,
    )


def _dtype(recipe: Recipe, step: Dtype | None, said: Decisions) -> Dtype:
    """Of the weights: trained ones keep 32 bits, as a step of 16 would round what it adds; frozen ones need no more."""
    if recipe.model.dtype != "auto":
        return recipe.model.dtype
    if recipe.lora is None:
        reason = "the loss scaler of float16 steps wants trained weights in 32 bits"
        said.say("model.dtype", "float32", reason if step == "float16" else _wide(recipe))
        return "float32"
    if step == "float16":
        said.say("model.dtype", step, _AS_STEPS)
        return step
    return "bfloat16"


def _wide(recipe: Recipe) -> str:
    rate = known.rate(recipe.trainer.learning_rate, is_full=True)
    return f"all weights are trained: in bfloat16 those above {unmoved(rate):.1g} would not move at {rate:g}"


def quantization(recipe: Recipe, step: Dtype | None, said: Decisions) -> QuantizationSpec | None:
    """As written: quantisation changes the result.  Products without a type written have that of the steps."""
    section = recipe.quantization
    if section is None:
        return None
    spec, at = QuantizationSpec(**section.model_dump()), "bnb_4bit_compute_dtype"
    if step != "float16" or not section.load_in_4bit or at in section.model_fields_set:
        return spec
    said.say(f"quantization.{at}", step, _AS_STEPS)
    return spec.model_copy(update={at: step})


def lora(recipe: Recipe, model: ModelFacts | None, said: Decisions) -> LoraSpec | None:
    """As written; embedding and head stay one weight where they are one, or where that isn't known."""
    if recipe.lora is None:
        return None
    at = "autocast_adapter_dtype"
    is_open = recipe.quantization is not None and at not in recipe.lora.model_fields_set
    if is_open and not recipe.trainer.library.keeps_adapters_in_float32:
        said.say(f"lora.{at}", True, "adapters over quantised weights learn more in 32 bits than in TRL's 16")
    is_tied = (model is None or model.tie_word_embeddings) and recipe.trainer.library.has_all_of_peft
    ensured = is_tied and peft_names.saves_embedding(recipe.lora)
    added = 0 if peft_names.saves_embedding(recipe.lora) else len(recipe.dataset.add_tokens)
    if added:
        reason = "rows of embedding and head for `dataset.add_tokens`; they are trained and saved with the adapter"
        said.say("lora.trainable_token_indices", added, reason)
    return LoraSpec(**recipe.lora.model_dump(), ensure_weight_tying=ensured, added_tokens=added)


def samples(recipe: Recipe) -> SampleSpec:
    """As written."""
    return SampleSpec(**recipe.samples.model_dump())


def trainer(
    recipe: Recipe,
    train: DataFacts | None,
    device: Device,
    step: Dtype | None,
    steps: int | None,
    often: Intervals,
    is_sharded: bool,
    room: Room,
    said: Decisions,
) -> TrainerSpec:
    """TRL's arguments with every `auto` decided.

    `train` is the data as counted or declared, `step` what a step is computed in, `steps` the length of the run where
    it is known, `often` how often it evaluates and saves, `room` what memory allows where that was looked at.
    """
    t = recipe.trainer
    rows, accumulation = speed.micro_batches(recipe, room, said)
    return TrainerSpec(
        engine=t.engine,
        num_train_epochs=_epochs(recipe, said),
        max_steps=t.max_steps if t.max_steps is not None else -1,
        max_length=t.max_length,
        packing=speed.packing(recipe, train, device.gpus * recipe.compute.nodes, steps, said),
        per_device_train_batch_size=rows,
        per_device_eval_batch_size=t.per_device_eval_batch_size or t.per_device_train_batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=_learning_rate(recipe, said),
        lr_scheduler_type=t.lr_scheduler_type,
        warmup_steps=float(t.warmup_steps if t.warmup_steps is not None else t.warmup_ratio or 0),
        weight_decay=t.weight_decay,
        max_grad_norm=t.max_grad_norm,
        optim=speed.optim(recipe, device, said),
        bf16=step == "bfloat16",
        fp16=step == "float16",
        logging_steps=t.logging_steps,
        eval_steps=often.eval_steps,
        save_steps=often.save_steps,
        save_total_limit=t.save_total_limit,
        load_best_model_at_end=t.load_best_model_at_end,
        metric_for_best_model=_best_by(recipe, said),
        early_stopping_patience=t.early_stopping_patience,
        seed=t.seed,
        report_to=() if t.report_to == "none" else tuple(dict.fromkeys(t.report_to)),
        extra=_thawed(t.extra, OBEYED if is_sharded else (*OBEYED, *FSDP_KEYS)),
    )


def _best_by(recipe: Recipe, said: Decisions) -> str | None:
    """What the best is judged by, where anything asks for it."""
    t = recipe.trainer
    if not t.load_best_model_at_end and t.early_stopping_patience is None:
        return None
    metric = t.metric_for_best_model or "eval_loss"
    reason = "the highest is best" if METRICS.get(metric, False) else "the lowest is best"
    said.say("trainer.metric_for_best_model", metric, reason)
    return metric


def _thawed(extra: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    kept = {key: value for key, value in extra.items() if key not in left_out}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}


def _epochs(recipe: Recipe, said: Decisions) -> float:
    if recipe.trainer.num_train_epochs is None and recipe.trainer.max_steps is None:
        said.say("trainer.num_train_epochs", 1, "neither num_train_epochs nor max_steps is given: one pass")
    return float(recipe.trainer.num_train_epochs or 1)


def _learning_rate(recipe: Recipe, said: Decisions) -> float:
    if recipe.trainer.learning_rate != "auto":
        return recipe.trainer.learning_rate
    is_full = recipe.lora is None
    value, method = known.rate("auto", is_full=is_full), "full fine-tuning" if is_full else "LoRA"
    said.say("trainer.learning_rate", value, f"usual for {method}")
    return value
