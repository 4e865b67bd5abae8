"""JobSpec: all that the job needs, with nothing left to decide.

Every `auto` of the recipe has become a value before it gets here; the one exception is the format of data that could
not be read from the user's machine, which the job finds with the same function (`rows.forms.form_of`).
Paths are those of the job's own machine: a Volume mount on Modal, a folder below the ledger here.
"""

import json
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, model_validator

from sftrun.contract import engines, gpu_names, job_versions
from sftrun.contract.choices import DataFormat, Dtype, EngineName
from sftrun.contract.row_rules import RowRules
from sftrun.contract.stepplan import StepPlan
from sftrun.disk import outside
from sftrun.strict import Strict

Scalar = bool | int | float | str | None


class ModelSpec(Strict):
    """The base model: a Hub id at a commit, or a folder."""

    name_or_path: str
    revision: str | None = None
    dtype: Dtype = "bfloat16"
    trust_remote_code: bool = False
    use_safetensors: bool = True


class QuantizationSpec(Strict):
    """Keyword arguments of transformers' BitsAndBytesConfig."""

    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_compute_dtype: Dtype = "bfloat16"


class LoraSpec(Strict):
    """Keyword arguments of PEFT's LoraConfig.

    `ensure_weight_tying`: an embedding in `modules_to_save` and the head that is tied to it stay one weight.
    `autocast_adapter_dtype`: what `step.precision.adapters` follows from; None as TRL does it, and jobs before it did.
    `added_tokens`: so many rows of embedding and head are trained beside the adapter, those of `rows.add_tokens`.
    """

    r: int
    lora_alpha: float
    lora_dropout: float = 0.0
    bias: Literal["none", "all", "lora_only"] = "none"
    target_modules: tuple[str, ...] | str = "all-linear"
    target_parameters: tuple[str, ...] = ()
    exclude_modules: tuple[str, ...] | str = ()
    layers_to_transform: tuple[int, ...] = ()
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    init_lora_weights: bool | Literal["gaussian"] = True
    modules_to_save: tuple[str, ...] = ()
    ensure_weight_tying: bool = False
    added_tokens: int = 0
    use_rslora: bool = False
    use_dora: bool = False
    autocast_adapter_dtype: bool | None = None


class AdapterSpec(Strict):
    """The adapter to go on from: its folder on this machine, and its content."""

    folder: str
    sha256: str


class DataSource(Strict):
    """Rows: files on this machine (absolute), or a data set of the Hub at a revision.

    `format`, `columns` and `roles` say how they are read, `format` of None as all are; `max_examples`: the first ones.
    """

    files: tuple[str, ...] = ()
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    format: DataFormat | Literal["auto"] | None = None
    columns: dict[str, str] = {}
    roles: dict[str, str] = {}
    max_examples: int | None = None
    weight: float = 1.0

    @property
    def name(self) -> str:
        """A Hub id, or files without their folders."""
        more = f" and {len(self.files) - 1:,} more" if len(self.files) > 1 else ""
        return self.hub or PurePosixPath(self.files[0]).name + more

    def rules(self, rules: RowRules) -> RowRules:
        """As they hold for these rows."""
        return rules.of_source(self.format, self.columns, self.roles)


class DatasetSpec(Strict):
    """What is learnt from, and what it is judged on: by name, empty for a source without one."""

    train: tuple[DataSource, ...]
    eval: dict[str, DataSource] = {}
    eval_fraction: float | None = None
    shuffle: bool = True
    cache_dir: str | None = None

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """All sources of rows."""
        return (*self.train, *self.eval.values())


class TrainerSpec(Strict):
    """TRL's SFTConfig in its own names, every `auto` resolved.

    How a step is computed stands in `JobSpec.step`, what is learnt of a row in `JobSpec.rows`.  With a
    `metric_for_best_model` it is known at each evaluation which one was the best.
    """

    engine: EngineName = "trl"
    num_train_epochs: float = 1.0
    max_steps: int = -1
    max_length: int = 1024
    packing: bool = False
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    learning_rate: float = 2e-4
    lr_scheduler_type: str = "linear"
    warmup_steps: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    optim: str = "adamw_torch_fused"
    bf16: bool = True
    fp16: bool = False
    logging_steps: int = 10
    eval_steps: int | None = None
    save_steps: int = 500
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    early_stopping_patience: int | None = None
    seed: int = 3407
    report_to: tuple[str, ...] = ()
    extra: dict[str, Scalar | list[Scalar] | dict[str, Scalar]] = Field(default_factory=dict)

    @property
    def library(self) -> engines.Engine:
        """What one must know of the engine."""
        return engines.engine(self.engine)


class SampleSpec(Strict):
    """Prompts answered before and after training; temperature 0 is greedy."""

    prompts: tuple[str, ...] = ()
    max_new_tokens: int = 128
    temperature: float = 0.0


class EvaluationSpec(Strict):
    """Rows on which base and tuned model are compared; `by` is the column of their groups.

    `general` rows are others, on which nothing is to be lost; `reads_neutral`: nor on the text that ships with the
    program.  `needs_loss`: a metric is computed from the loss of the expected answers.
    """

    data: DataSource
    general: DataSource | None = None
    reads_neutral: bool = False
    by: str | None = None
    max_examples: int | None = None
    max_new_tokens: int = 256
    temperature: float = 0.0
    needs_loss: bool = False


class MoneySpec(Strict):
    """What the job counts while it runs.  `usd_per_second` is GPU, CPU and memory together.

    Where one of several kinds of GPU may come, it is the dearest's, and `by_gpu` has each one's.
    """

    usd_per_second: Decimal = Decimal(0)
    by_gpu: dict[str, Decimal] = {}
    spent_usd: Decimal = Decimal(0)
    max_usd: Decimal | None = None
    reserve_seconds: float = 0.0

    def rate(self, device: str | None) -> Decimal:
        """USD a second on that device, as the driver calls it; None: not known yet."""
        return self.by_gpu.get(gpu_names.named(device or "", self.by_gpu) or "", self.usd_per_second)


class ClusterSpec(Strict):
    """Where a machine stands among `JobSpec.nodes`: all meet at the first one's address; only there the run is kept."""

    rank: int
    address: str
    port: int


class JobSpec(Strict):
    """One run of the job.  The same text starts it here, on Modal and under torchrun.

    `cluster` is the one thing that only the machine itself can know.
    """

    version: Literal[2] = 2
    run_id: str
    name: str
    record_dir: str
    output_dir: str
    checkpoints_dir: str
    model: ModelSpec
    quantization: QuantizationSpec | None = None
    lora: LoraSpec | None = None
    adapter: AdapterSpec | None = None
    dataset: DatasetSpec
    rows: RowRules = RowRules()
    trainer: TrainerSpec
    step: StepPlan
    samples: SampleSpec = SampleSpec()
    evaluation: EvaluationSpec | None = None
    gpu_count: int = 0
    nodes: int = 1
    cluster: ClusterSpec | None = None
    cpu_threads: int | None = None
    money: MoneySpec = MoneySpec()
    timeout_seconds: float | None = None

    @classmethod
    def read(cls, text: str | bytes) -> "JobSpec":
        """The job of its JSON, an older release's too.  Raises a ValueError, pydantic's or `outside.Damaged`."""
        told = outside.parse_object(text)
        upgraded = job_versions.upgraded(told)
        return cls.model_validate_json(text if upgraded is told else json.dumps(upgraded))

    @model_validator(mode="after")
    def _packs_once(self) -> Self:
        """`trainer.packing` is the recipe's word for what `step.layout` has too."""
        if self.trainer.packing != (self.step.layout == "packed"):
            raise ValueError(f"`step.layout` is {self.step.layout}, `trainer.packing` {self.trainer.packing}")
        return self
