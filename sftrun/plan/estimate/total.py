"""Memory, time and money of a plan, together.  Pure: the plan, the facts and what runs have shown go in as values."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from sftrun.diagnostics import dotted
from sftrun.facts.gpus import calibration as calibrations
from sftrun.facts.gpus import catalog
from sftrun.facts.gpus.calibration import Calibration, ReportedPace
from sftrun.facts.values import DataFacts, Facts, Gpu
from sftrun.plan.estimate import cost, lengths, memory, roofline, stage_times, workload
from sftrun.plan.estimate.cost import Bill, Rates
from sftrun.plan.estimate.known_rows import eval_rows, train_rows
from sftrun.plan.estimate.learning import Correction, Features, Observation, learn
from sftrun.plan.estimate.setup import Setup, bits_of, stack_of
from sftrun.plan.estimate.stage_times import Pace
from sftrun.plan.estimate.workload import Workload
from sftrun.plan.types import CostEstimate, MemoryEstimate, Plan, StageTime
from sftrun.step import place as places

UNKNOWN_TEST_ROWS: Final = 1000
EVAL_MISSING: Final = "the validation data can't be read from here: give `num_examples` of `dataset.eval`"


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

    def computing(self, *, checkpointed: bool | None = None, **changes: object) -> "Inputs":
        """The same with steps computed otherwise."""
        return self._replace(setup=self.setup.computing(checkpointed=checkpointed, **changes))

    def training(self, **changes: object) -> "Inputs":
        """The same with other settings of the trainer."""
        return self._replace(setup=self.setup.training(**changes))


def estimate(
    plan: Plan, facts: Facts, observed: tuple[Observation, ...] = (), calibration: Calibration | None = None
) -> Estimate:
    """The estimate of `plan` on its own GPU."""
    known = inputs(plan, facts)
    if not isinstance(known, Inputs):
        return Estimate(missing=known)
    fits, work = peak(known), _work(known)
    if work is None:
        return Estimate(memory=fits, missing=_data_missing(plan, known))
    if plan.recipe.dataset.eval is not None and known.evaluation is None:
        return Estimate(memory=fits, missing=(EVAL_MISSING,))
    correction = learn(observed, features(plan, known))
    constants = calibration or calibrations.shipped()
    reported = _reported(known, work)
    if reported is not None and correction.kind != "same":
        pace = plain = _reported_pace(reported, known, work, facts, constants)
    else:
        pace, plain = (_pace(one, work, constants, correction) for one in (known, known.computing(cuda_graphs=False)))
    priced = _cost(plan, facts, known, work, pace, plain, correction, constants)
    note = reported.note if reported else ""
    return Estimate(fits, priced, is_declared=work.source == "declared", note=note)


def _pace(known: Inputs, work: Workload, constants: Calibration, correction: Correction) -> Pace:
    step = roofline.step(known.setup, work.batch, work.accumulation, known.gpu, constants)
    return stage_times.pace(step, known.gpu, known.setup, constants, correction)


def priced(plan: Plan, facts: Facts, observed: tuple[Observation, ...] = ()) -> Plan:
    """The plan with its estimate put in; what could not be estimated stays None."""
    found = estimate(plan, facts, observed)
    others = (estimate(_on_gpu(plan, gpu), facts, observed).cost for gpu in plan.compute.gpus[1:])
    costs = tuple(cost for cost in others if cost is not None)
    return plan.model_copy(update={"memory": found.memory, "cost": found.cost, "other_costs": costs})


def _on_gpu(plan: Plan, gpu: str) -> Plan:
    """The same plan where it gets that kind of GPU."""
    return plan.model_copy(update={"compute": plan.compute.model_copy(update={"gpus": (gpu,)})})


def inputs(plan: Plan, facts: Facts) -> Inputs | tuple[str, ...]:
    """All that the estimate needs, or what is missing in words."""
    gpu = gpu_of(plan, facts)
    missing = []
    if facts.model is None:
        missing.append(
            f"the shapes of `{plan.model.name_or_path}`: `sftrun validate` of the recipe asks the Hub for them"
        )
    if gpu is None and plan.compute.place.is_here:
        missing.append("a GPU: this machine has none that estimates know, and none is rented; `--gpu` shows others")
    elif gpu is None:
        missing.append("a GPU: time and memory are estimated for GPUs, name one with `--gpu`")
    if facts.model is None or gpu is None:
        return tuple(missing)
    data, nodes = plan.recipe.dataset, plan.compute.nodes
    gpus = max(plan.compute.gpu_count, 1) * nodes
    return Inputs(
        setup=Setup(facts.model, plan.model, plan.trainer, plan.quantization, plan.lora, plan.step, gpus, nodes),
        gpu=gpu,
        train=train_rows(plan.recipe, facts),
        evaluation=eval_rows(plan.recipe, facts),
        eval_fraction=data.eval_fraction or 0.0,
    )


def peak(known: Inputs) -> MemoryEstimate:
    """Memory alone: it asks for no rows, only for how long they may be."""
    trainer, step = known.setup.trainer, known.setup.step
    found = None if known.train is None else lengths.of(known.train, trainer.max_length)
    if found is None or known.train is None:
        words = "from the model's shapes; rows taken to be as long as `max_length` allows"
        return memory.estimate(known.setup, workload.worst_batch(trainer, step), known.gpu, basis=words)
    batches = known.train.rows_learnt / trainer.per_device_train_batch_size
    words = f"from the model's shapes and the longest batch, rows {known.train.source}"
    return memory.estimate(known.setup, workload.batch(trainer, step, found, batches), known.gpu, basis=words)


def gpu_of(plan: Plan, facts: Facts) -> Gpu | None:
    """The GPU that the plan asks for first, or this machine's; None where the catalog doesn't know it."""
    if plan.compute.place.is_here:
        found = catalog.of_device(facts.catalog, facts.machine.gpu_name or "")
        return found.model_copy(update={"memory_gb": facts.machine.gpu_memory_gb}) if found else None
    return catalog.find(facts.catalog, plan.compute.gpus[0]) if plan.compute.gpus else None


def can_compute(plan: Plan, gpu: Gpu) -> bool:
    """Whether the GPU has the types that the plan computes in."""
    types = {plan.model.dtype, "bfloat16" if plan.trainer.bf16 else None}
    if plan.quantization is not None and plan.quantization.load_in_4bit:
        types.add(plan.quantization.bnb_4bit_compute_dtype)
    return gpu.has_bf16 or "bfloat16" not in types


def features(plan: Plan, known: Inputs) -> Features:
    """What makes this run like another."""
    return features_of(plan, known.setup.model.parameters, known.gpu.name, known.setup.gpus)


def features_of(plan: Plan, parameters: int, gpu: str, gpu_count: int) -> Features:
    """The same from a plan alone, with what the job reported of model and GPU."""
    return Features(
        identities=frozenset(plan.identities),
        parameters=parameters,
        stack=stack_of(plan.step, plan.trainer.library),
        gpu=gpu,
        gpu_count=gpu_count,
        layout=plan.step.layout,
        checkpointing=plan.step.checkpointing != "none",
        bits=bits_of(plan.quantization, plan.model),
        batch=plan.trainer.per_device_train_batch_size,
    )


def _work(known: Inputs) -> Workload | None:
    if known.train is None:
        return None
    setup = known.setup
    return workload.workload(setup.trainer, setup.step, known.train, setup.gpus, known.evaluation, known.eval_fraction)


def _data_missing(plan: Plan, known: Inputs) -> tuple[str, ...]:
    if known.train is not None and known.train.source == "counted":
        return ("the rows' tokens can't be counted without the tokenizer: give `mean_tokens` of `dataset.train`",)
    said = plan.recipe.dataset.train_sources
    names = ("num_examples", "mean_tokens")
    lacking = {dotted(at): [name for name in names if getattr(one, name) is None] for at, one in said.items()}
    keys, wanted = next(((key, wanted) for key, wanted in lacking.items() if wanted), ("dataset.train", list(names)))
    return (f"the data can't be read from here: give {' and '.join(f'`{name}`' for name in wanted)} of `{keys}`",)


def _cost(
    plan: Plan,
    facts: Facts,
    known: Inputs,
    work: Workload,
    pace: Pace,
    plain: Pace,
    correction: Correction,
    constants: Calibration,
) -> CostEstimate:
    place = _place(plan, facts, known)
    parts = stage_times.stages(
        known.setup, work, pace, plain, plan.samples, constants, known.gpu, place, _questions(plan)
    )
    tries = stage_times.attempts(parts, plan.compute.timeout_seconds)
    if tries > 1:
        parts = (*parts, stage_times.again(parts, tries))
    job = cost.rates(known.gpu, plan.compute.gpu_count, plan.compute, facts.catalog.prices)
    before = cost.preparing_rates(plan.compute, facts.catalog.prices)
    bills = [_bill(parts, name, job, before) for name in ("low", "expected", "high")]
    gpus = known.setup.gpus
    return CostEstimate(
        gpu=known.gpu.name,
        gpu_count=gpus,
        steps=work.steps,
        seconds_per_step=round(pace.seconds, 4),
        first_steps_seconds=stage_times.first_steps(known.setup, pace, constants),
        tokens_per_second=round(work.batch.real_tokens * work.accumulation * gpus / pace.seconds, 1),
        stages=tuple(_rounded(stage) for stage in parts),
        attempts=tries,
        usd_per_second=job.total,
        usd_gpu=bills[1].gpu,
        usd_cpu=bills[1].cpu,
        usd_memory=bills[1].memory,
        usd_storage=bills[1].storage,
        usd_low=bills[0].total,
        usd_high=bills[2].total,
        basis=f"{pace.basis}; rows {work.source}",
        prices_date=facts.catalog.prices.date,
        correction=round(correction.factor, 4),
    )


def _questions(plan: Plan) -> stage_times.Questions | None:
    """The rows that are asked; where they could not be counted, as many as may be."""
    wanted, found = plan.recipe.evaluation, plan.evaluation
    if wanted is None or found is None:
        return None
    rows = found.rows or wanted.max_examples or UNKNOWN_TEST_ROWS
    return stage_times.Questions(rows, wanted.generation.max_new_tokens)


def _place(plan: Plan, facts: Facts, known: Inputs) -> stage_times.Place:
    """On Modal the container before the job also fetches a model, and tokenises then, whatever the rows are."""
    is_apart = plan.step.preparing != "job"
    if plan.compute.place.is_here:
        return stage_times.Place(False, is_apart, facts.machine.cpu_cores)
    is_apart = is_apart or known.setup.model.source != "folder"
    return stage_times.Place(True, is_apart, places.CORES if is_apart else plan.compute.cpu or 1.0)


def _bill(parts: tuple[StageTime, ...], name: Literal["low", "expected", "high"], job: Rates, before: Rates) -> Bill:
    """Of these seconds of every stage."""
    spans = {has_gpu: sum(getattr(s, name) for s in parts if s.has_gpu == has_gpu) for has_gpu in (True, False)}
    return cost.together(cost.bill(job, spans[True]), cost.bill(before, spans[False]))


def usd(found: CostEstimate) -> Decimal:
    """Of the likely time."""
    return found.usd_gpu + found.usd_cpu + found.usd_memory + found.usd_storage


def stage_seconds(found: CostEstimate) -> Mapping[str, float]:
    """Seconds that each stage is likely to take."""
    return {stage.name: stage.expected for stage in found.stages}


def seconds(found: CostEstimate) -> float:
    """The likely wall time."""
    return sum(stage_seconds(found).values())


def _rounded(stage: StageTime) -> StageTime:
    found = {"low": stage.low, "high": stage.high, "likely": stage.likely}
    return stage.model_copy(update={name: None if s is None else round(s, 1) for name, s in found.items()})


def _reported(known: Inputs, work: Workload) -> ReportedPace | None:
    """A pace that was reported for this very configuration."""
    trainer = known.setup.trainer
    names = ("engine", "max_length", "packing", "per_device_train_batch_size", "gradient_accumulation_steps", "optim")
    for entry in calibrations.reported():
        same = all(getattr(entry, name) == getattr(trainer, name) for name in names)
        same = same and entry.gradient_checkpointing == known.setup.is_checkpointed and known.setup.gpus == 1
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
        return Pace(
            seconds, seconds * stage_times.REPORTED[0], seconds * stage_times.REPORTED[1], words, is_whole_run=True
        )
    computed = [roofline.step(known.setup, work.batch, work.accumulation, g, constants) for g in (known.gpu, there)]
    seconds *= computed[0].seconds / computed[1].seconds
    low, high = stage_times.EXTRAPOLATED
    words = f"extrapolated from an {entry.gpu} by compute and bandwidth; there {words}"
    return Pace(seconds, seconds * low, seconds * high, words, is_whole_run=True)
