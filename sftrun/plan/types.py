"""Plan: the recipe with every `auto` decided, what it needs, what it will cost, and why."""

import json
import math
from decimal import Decimal
from typing import Literal, Self

from sftrun.contract import executors
from sftrun.contract.choices import DataFormat, ExecutorName
from sftrun.contract.job_versions import with_rows, with_sources
from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, SampleSpec, TrainerSpec
from sftrun.contract.row_rules import RowRules
from sftrun.contract.step_versions import with_step
from sftrun.contract.stepplan import StepPlan
from sftrun.disk import outside
from sftrun.recipe.models import Recipe
from sftrun.strict import Strict


class Decision(Strict):
    """One `auto` (or absent key) made a value."""

    at: str
    value: str
    reason: str


class MemoryPart(Strict):
    """One part of the peak, in GB (1e9 bytes)."""

    name: str
    gb: float


class MemoryEstimate(Strict):
    """Peak memory of one GPU."""

    peak_gb: float
    capacity_gb: float
    parts: tuple[MemoryPart, ...]
    basis: str

    @property
    def fits(self) -> bool:
        return self.peak_gb <= self.capacity_gb


class StageTime(Strict):
    """Seconds of one stage, low and high, and `likely` ones where those are not in the middle.

    Without `has_gpu` it comes before the job, in a container that has none.
    """

    name: str
    low: float
    high: float
    basis: str
    has_gpu: bool = True
    likely: float | None = None

    @property
    def expected(self) -> float:
        """One figure for it, where one is shown or compared."""
        return (self.low + self.high) / 2 if self.likely is None else self.likely


class CostEstimate(Strict):
    """Time and money of the whole run, as a range.

    `gpu_count` is of all machines.  `seconds_per_step` is a steady step's; `first_steps_seconds` is what the first ones
    take beside that, which compile.  USD by kind are for the likely time.  `correction` is what finished runs
    multiplied the computed step by.
    """

    gpu: str
    gpu_count: int
    steps: int
    seconds_per_step: float
    first_steps_seconds: float = 0.0
    tokens_per_second: float
    stages: tuple[StageTime, ...]
    attempts: int
    usd_per_second: Decimal = Decimal(0)
    usd_gpu: Decimal
    usd_cpu: Decimal
    usd_memory: Decimal
    usd_storage: Decimal
    usd_low: Decimal
    usd_high: Decimal
    basis: str
    prices_date: str
    correction: float = 1.0

    @property
    def job_seconds(self) -> tuple[float, float, float]:
        """What the job itself takes, and is timed and stopped by: low, likely and high."""
        own = [stage for stage in self.stages if stage.has_gpu]
        return sum(stage.low for stage in own), sum(stage.expected for stage in own), sum(stage.high for stage in own)

    @property
    def job_usd(self) -> tuple[Decimal, Decimal, Decimal]:
        """The same of what the job itself counts as spent: without the container before it."""
        low, likely, high = (self.usd_per_second * Decimal(str(round(seconds, 1))) for seconds in self.job_seconds)
        return low, likely, high


class SourcePlan(Strict):
    """Where one data source stands.

    `local` files are on this machine (absolute, by content hash), `volume` is a path below a mount of the recipe.
    """

    local: tuple[str, ...] = ()
    volume: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    sha256: str | None = None
    format: DataFormat | Literal["auto"] | None = None
    columns: dict[str, str] = {}
    roles: dict[str, str] = {}
    max_examples: int | None = None
    weight: float = 1.0


class DatasetPlan(Strict):
    """The recipe's `dataset`, resolved; `eval` by name, empty for a source without one."""

    train: tuple[SourcePlan, ...]
    eval: dict[str, SourcePlan] = {}
    eval_fraction: float | None = None
    shuffle: bool = True

    @property
    def sources(self) -> tuple[SourcePlan, ...]:
        """All sources of rows."""
        return (*self.train, *self.eval.values())


class EvaluationPlan(Strict):
    """The recipe's `evaluation`, resolved: where its rows stand, and the text of its JSON Schema.

    What its metrics are told stands in the recipe.
    """

    data: SourcePlan
    general: SourcePlan | None = None
    json_schema: str | None = None
    rows: int | None = None
    mean_tokens: float | None = None


class AdapterPlan(Strict):
    """The adapter that the run goes on from: its folder on this machine, and whose it is."""

    name: str
    run_id: str | None = None
    folder: str
    sha256: str

    @property
    def words(self) -> str:
        """In a line."""
        run = f"run {self.run_id}"
        return self.name if self.run_id is None else run if self.run_id == self.name else f"{run} ({self.name})"


class ComputePlan(Strict):
    """Where it runs, in Modal's units: seconds, MiB, physical cores."""

    executor: ExecutorName
    gpus: tuple[str, ...] = ()
    gpu_count: int = 0
    nodes: int = 1
    timeout_seconds: int = 86400
    cpu: float | None = None
    memory_mib: int | None = None
    retries: int = 3
    region: str | None = None
    machine_usd_per_second: Decimal = Decimal(0)  # this machine's own rate, where nothing is rented

    @property
    def place(self) -> executors.Executor:
        """What one must know of the executor."""
        return executors.executor(self.executor)


class Plan(Strict):
    """What will be done.  Same recipe and facts, same plan, also next year.

    `earlier_identities` are those that older releases gave the same run, the latest first.
    `other_costs` are of the further kinds of GPU that the recipe would take, with what is planned for the first.
    """

    version: Literal[2] = 2
    recipe: Recipe
    identity: str
    earlier_identities: tuple[str, ...] = ()
    decisions: tuple[Decision, ...]
    model: ModelSpec
    quantization: QuantizationSpec | None
    lora: LoraSpec | None
    adapter: AdapterPlan | None = None
    dataset: DatasetPlan
    rows: RowRules
    trainer: TrainerSpec
    step: StepPlan
    samples: SampleSpec
    output_dir: str | None = None  # absolute, where the recipe's is relative to its file
    evaluation: EvaluationPlan | None = None
    compute: ComputePlan
    lock: dict[str, str]
    total_steps: int | None = None
    memory: MemoryEstimate | None = None
    cost: CostEstimate | None = None
    other_costs: tuple[CostEstimate, ...] = ()

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """The plan of its JSON, one of version 1 too: `step` and `rows` stood elsewhere in it.  Raises a ValueError."""
        told = outside.parse_object(text)
        compute = told.get("compute")
        if told.get("version") != 1 or not isinstance(compute, dict):
            return cls.model_validate_json(json.dumps(with_sources(told)))
        gpus = math.prod(n for n in map(compute.get, ("gpu_count", "nodes")) if isinstance(n, int))
        return cls.model_validate_json(json.dumps(with_sources(with_rows(with_step({**told, "version": 2}, gpus)))))

    @property
    def identities(self) -> tuple[str, ...]:
        """All that this run may be known by, today's first."""
        return (self.identity, *self.earlier_identities)

    @property
    def oldest_identity(self) -> str:
        """The one that a run's id is made of: ids in ledgers, on Volumes and in paths outlive releases."""
        return self.identities[-1]

    @property
    def costs(self) -> tuple[CostEstimate, ...]:
        """On each kind of GPU that may come, the first one first; those that could be estimated."""
        return tuple(cost for cost in (self.cost, *self.other_costs) if cost is not None)
