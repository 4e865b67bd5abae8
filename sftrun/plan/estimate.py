"""Memory, time and money of a plan, together.  Pure: the plan, the facts and what runs have shown go in as values."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from sftrun.facts import calibration as calibrations
from sftrun.facts import catalog
from sftrun.facts.calibration import Calibration, ReportedPace
from sftrun.facts.models import DataFacts, Facts, Gpu
from sftrun.plan import cost, lengths, memory, roofline, time, workload
from sftrun.plan.learning import Correction, Features, Observation, learn
from sftrun.plan.models import CostEstimate, MemoryEstimate, Plan, StageTime
from sftrun.plan.setup import Setup, bits_of, stack_of
from sftrun.plan.time import Pace
from sftrun.plan.workload import Workload
from sftrun.recipe.models import Source


class Estimate(NamedTuple):
    """What could be computed; `missing` says in words what stood in the way of the rest."""

    memory: MemoryEstimate | None = None
    cost: CostEstimate | None = None
    missing: tuple[str, ...] = ()
    is_declared: bool = False
    note: str = ""


class Inputs(NamedTuple):
    """What an estimate is made from, once all of it is known."""

    setup: Setup
    gpu: Gpu
    train: DataFacts | None
    evaluation: DataFacts | None
    eval_fraction: float


def estimate(
    plan: Plan, facts: Facts, observed: tuple[Observation, ...] = (), calibration: Calibration | None = None
) -> Estimate:
    """The estimate of `plan` on its own GPU."""
    known = inputs(plan, facts)
    if not isinstance(known, Inputs):
        return Estimate(missing=known)
    fits, work = peak(known), _work(known)
    if work is None:
        return Estimate(memory=fits, missing=_data_missing(plan))
    correction = learn(observed, features(plan, known))
    constants = calibration or calibrations.shipped()
    step = roofline.step(known.setup, work.batch, work.accumulation, known.gpu, constants)
    reported = _reported(known, work)
    pace = time.pace(step, known.gpu, known.setup, constants, correction)
    if reported is not None and correction.kind != "same":
        pace = _reported_pace(reported, known, work, facts, constants)
    priced = _cost(plan, facts, known, work, pace, correction, constants)
    note = reported.note if reported else ""
    return Estimate(fits, priced, is_declared=work.source == "declared", note=note)


def priced(plan: Plan, facts: Facts, observed: tuple[Observation, ...] = ()) -> Plan:
    """The plan with its estimate put in; what could not be estimated stays None."""
    found = estimate(plan, facts, observed)
    return plan.model_copy(update={"memory": found.memory, "cost": found.cost})


def inputs(plan: Plan, facts: Facts) -> Inputs | tuple[str, ...]:
    """All that the estimate needs, or what is missing in words."""
    gpu = gpu_of(plan, facts)
    missing = []
    if facts.model is None:
        missing.append(
            f"the shapes of `{plan.model.name_or_path}`: `sftrun validate` of the recipe asks the Hub for them"
        )
    if gpu is None and plan.compute.executor == "local":
        missing.append(
            "a GPU of this machine that is known: nothing is rented here; `--gpu` shows what Modal would take"
        )
    elif gpu is None:
        missing.append("a GPU: time and memory are estimated for GPUs, name one with `--gpu`")
    if facts.model is None or gpu is None:
        return tuple(missing)
    data, nodes = plan.recipe.dataset, plan.compute.nodes
    gpus = max(plan.compute.gpu_count, 1) * nodes
    return Inputs(
        setup=Setup(facts.model, plan.model, plan.trainer, plan.quantization, plan.lora, gpus, nodes),
        gpu=gpu,
        train=data_facts(facts.train, data.train),
        evaluation=None if data.eval is None else data_facts(facts.eval, data.eval),
        eval_fraction=data.eval_fraction or 0.0,
    )


def peak(known: Inputs) -> MemoryEstimate:
    """Memory alone: it asks for no rows, only for how long they may be."""
    trainer = known.setup.trainer
    spread = None if known.train is None else lengths.of(known.train, trainer.max_length)
    if spread is None or known.train is None:
        words = "from the model's shapes; rows taken to be as long as `max_length` allows"
        return memory.estimate(known.setup, workload.worst_batch(trainer), known.gpu, basis=words)
    batches = known.train.rows / trainer.per_device_train_batch_size
    words = f"from the model's shapes and the longest batch, rows {known.train.source}"
    return memory.estimate(known.setup, workload.batch(trainer, spread, batches), known.gpu, basis=words)


def gpu_of(plan: Plan, facts: Facts) -> Gpu | None:
    """The catalog's GPU that the plan asks for first, or this machine's if the catalog knows it."""
    if plan.compute.executor == "local":
        found = next((g for g in facts.catalog.gpus if g.name in (facts.machine.gpu_name or "").split()), None)
        return found.model_copy(update={"memory_gb": facts.machine.gpu_memory_gb}) if found else None
    return catalog.find(facts.catalog, plan.compute.gpus[0]) if plan.compute.gpus else None


def data_facts(counted: DataFacts | None, source: Source) -> DataFacts | None:
    """As counted; else as the recipe declares it."""
    if counted is not None and (counted.length_counts or counted.mean_tokens or counted.tokens):
        return counted
    rows = counted.rows if counted is not None else source.num_examples
    if rows is None:
        return None
    return DataFacts(source="declared", format=None, rows=rows, mean_tokens=source.mean_tokens)


def features(plan: Plan, known: Inputs) -> Features:
    """What makes this run like another."""
    return features_of(plan, known.setup.model.parameters, known.gpu.name, known.setup.gpus)


def features_of(plan: Plan, parameters: int, gpu: str, gpu_count: int) -> Features:
    """The same from a plan alone, with what the job reported of model and GPU."""
    return Features(
        identity=plan.identity,
        parameters=parameters,
        stack=stack_of(plan.trainer, plan.model),
        gpu=gpu,
        gpu_count=gpu_count,
        layout=workload.layout(plan.trainer),
        checkpointing=plan.trainer.gradient_checkpointing,
        bits=bits_of(plan.quantization, plan.model),
    )


def _work(known: Inputs) -> Workload | None:
    if known.train is None:
        return None
    trainer, gpus = known.setup.trainer, known.setup.gpus
    return workload.workload(trainer, known.train, gpus, known.evaluation, known.eval_fraction)


def _data_missing(plan: Plan) -> tuple[str, ...]:
    source = plan.recipe.dataset.train
    wanted = [name for name in ("num_examples", "mean_tokens") if getattr(source, name) is None]
    keys = " and ".join(f"`{name}`" for name in wanted)
    return (f"the data can't be read from here: give {keys} of `dataset.train`",)


def _cost(
    plan: Plan, facts: Facts, known: Inputs, work: Workload, pace: Pace, correction: Correction, constants: Calibration
) -> CostEstimate:
    is_modal = plan.compute.executor == "modal"
    parts = time.stages(known.setup, work, pace, plan.samples, constants, known.gpu, has_image=is_modal)
    tries = time.attempts(parts, plan.compute.timeout_seconds)
    if tries > 1:
        parts = (*parts, time.again(parts, tries))
    low, high = time.total(parts)
    held = cost.rates(known.gpu, plan.compute.gpu_count, plan.compute, facts.catalog.prices)
    middle = cost.bill(held, (low + high) / 2)
    gpus = known.setup.gpus
    return CostEstimate(
        gpu=known.gpu.name,
        gpu_count=gpus,
        steps=work.steps,
        seconds_per_step=round(pace.seconds, 4),
        tokens_per_second=round(work.batch.real_tokens * work.accumulation * gpus / pace.seconds, 1),
        stages=tuple(_rounded(stage) for stage in parts),
        attempts=tries,
        usd_per_second=held.total,
        usd_gpu=middle.gpu,
        usd_cpu=middle.cpu,
        usd_memory=middle.memory,
        usd_storage=middle.storage,
        usd_low=cost.bill(held, low).total,
        usd_high=cost.bill(held, high).total,
        basis=f"{pace.basis}; rows {work.source}",
        prices_date=facts.catalog.prices.date,
        correction=round(correction.factor, 4),
    )


def usd(found: CostEstimate) -> Decimal:
    """The middle of the range."""
    return found.usd_gpu + found.usd_cpu + found.usd_memory + found.usd_storage


def stage_seconds(found: CostEstimate) -> Mapping[str, float]:
    """Seconds of each stage, in the middle of its range."""
    return {stage.name: (stage.low + stage.high) / 2 for stage in found.stages}


def seconds(found: CostEstimate) -> float:
    """Wall time, in the middle of its range."""
    return sum(stage_seconds(found).values())


def _rounded(stage: StageTime) -> StageTime:
    return stage.model_copy(update={"low": round(stage.low, 1), "high": round(stage.high, 1)})


def _reported(known: Inputs, work: Workload) -> ReportedPace | None:
    """A pace that was reported for this very configuration."""
    trainer = known.setup.trainer
    names = ("engine", "max_length", "packing", "per_device_train_batch_size", "gradient_accumulation_steps", "optim")
    for entry in calibrations.reported():
        same = all(getattr(entry, name) == getattr(trainer, name) for name in names)
        same = same and entry.gradient_checkpointing == trainer.gradient_checkpointing and known.setup.gpus == 1
        same = same and entry.load_in_4bit == (known.setup.bits == 4)
        size = abs(known.setup.model.parameters / entry.parameters - 1) < 0.01
        if same and size and abs(work.rows / entry.rows - 1) < 0.01:
            return entry
    return None


def _reported_pace(entry: ReportedPace, known: Inputs, work: Workload, facts: Facts, constants: Calibration) -> Pace:
    """The pace on the GPU of the report; on others as many times slower than computed as it was there."""
    seconds = entry.per_device_train_batch_size * entry.gradient_accumulation_steps / entry.samples_per_second
    words = f"{entry.source}: {entry.samples_per_second} samples/s ({entry.date})"
    there = catalog.find(facts.catalog, entry.gpu)
    if there is None or there.name == known.gpu.name:
        return Pace(seconds, seconds * time.REPORTED[0], seconds * time.REPORTED[1], words, is_whole_run=True)
    computed = [roofline.step(known.setup, work.batch, work.accumulation, g, constants) for g in (known.gpu, there)]
    seconds *= computed[0].seconds / computed[1].seconds
    low, high = time.EXTRAPOLATED
    words = f"extrapolated from an {entry.gpu} by compute and bandwidth; there {words}"
    return Pace(seconds, seconds * low, seconds * high, words, is_whole_run=True)
