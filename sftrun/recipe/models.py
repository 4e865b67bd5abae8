"""The recipe, version 1, as types: one class a section, in the order of the file.

Names are the libraries' own (SFTConfig, LoraConfig, BitsAndBytesConfig, `app.function`).  Absent and null mean the
same; `auto` means 'decide for me' and is resolved by `plan.decide.resolve`, never here.  Descriptions, defaults and
examples become the JSON Schema that editors complete from.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from sftrun.contract import engines, executors
from sftrun.contract.choices import DataFormat, Dtype, EngineName, ExecutorName
from sftrun.diagnostics import Path
from sftrun.recipe import known
from sftrun.recipe.evaluation_section import Evaluation
from sftrun.recipe.scalars import Auto, Name, NonNegativeInt, PositiveInt, Scalar, Text
from sftrun.recipe.sources import OneOrNamed, Several, Source
from sftrun.strict import Strict


class Model(Strict):
    """The base model."""

    name_or_path: str = Field(
        min_length=1,
        description="A Hub id, a folder (relative to this file), or builtin:NAME.",
        examples=["Qwen/Qwen2.5-0.5B-Instruct", "./models/mine", "builtin:tiny"],
    )
    revision: str | None = Field(None, description="Hub branch, tag or commit; the lock keeps the commit it meant.")
    adapter: Text | None = Field(
        None,
        description="Go on from this adapter: a run of this folder (id or name), a folder, or a Hub id. "
        "`lora` then says only what may change.",
        examples=["phi3-census", "684b49bf72", "./adapters/mine", "owner/adapter"],
    )
    dtype: Auto | Dtype = Field(
        "auto",
        description="Type of the weights that are not quantised; auto is float32 where all are trained, else bfloat16, "
        "or float16 with `fp16` and on a GPU without bfloat16.",
    )
    attn_implementation: Auto | Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "varlen"] = Field(
        "auto", description="Attention kernel; varlen is torch's own variable-length attention."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with the model. Pin `revision` then."
    )


class Quantization(Strict):
    """bitsandbytes quantisation of the frozen weights; leave the section out to train on unquantised weights."""

    load_in_4bit: bool = Field(False, description="4 bits a weight (QLoRA).")
    load_in_8bit: bool = Field(False, description="8 bits a weight (LLM.int8).")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field("nf4", description="4-bit data type.")
    bnb_4bit_use_double_quant: bool = Field(True, description="Quantise the block scales too.")
    bnb_4bit_compute_dtype: Dtype = Field(
        "bfloat16",
        description="Type of the products with 4-bit weights; with `fp16`, or on a GPU without bfloat16, "
        "float16 if absent.",
    )


class Lora(Strict):
    """Low-rank adapters; leave the section out for full fine-tuning."""

    r: PositiveInt = Field(16, description="Rank of the adapters.", examples=[8, 16, 32])
    lora_alpha: float = Field(16, gt=0, description="Scale: the adapter counts lora_alpha / r.", examples=[16, 32])
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before each adapter.")
    bias: Literal["none", "all", "lora_only"] = Field("none", description="Which biases are trained.")
    target_modules: Text | tuple[str, ...] = Field(
        "all-linear",
        description="What gets an adapter: all-linear, a list of names, or a regular expression of whole names.",
        examples=[
            "all-linear",
            ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            r".*self_attn\.(q|v)_proj",
        ],
    )
    target_parameters: tuple[Text, ...] = Field(
        (),
        description="Parameters that get an adapter too, by the ends of their names: experts stacked in one of them.",
        examples=[["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]],
    )
    exclude_modules: Text | tuple[str, ...] = Field(
        (),
        description="What gets none of it all the same: a list of names, or a regular expression of whole names.",
        examples=[["down_proj"], r".*layers\.0\..*"],
    )
    layers_to_transform: tuple[NonNegativeInt, ...] = Field(
        (),
        description="Numbers of the layers that get adapters, if not all do; beside a list of names.",
        examples=[[0, 1]],
    )
    rank_pattern: dict[str, PositiveInt] = Field(
        {},
        description="Other ranks than r: by a module's name, or a regular expression of its end.",
        examples=[{"down_proj": 32}],
    )
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="Other scales than lora_alpha, likewise.", examples=[{"down_proj": 32}]
    )
    init_lora_weights: bool | Literal["gaussian"] = Field(
        True, description="First values: true for PEFT's, gaussian, or false for values that change the model at once."
    )
    modules_to_save: tuple[str, ...] = Field((), description="Modules trained in full and saved with the adapter.")
    use_rslora: bool = Field(False, description="Scale by lora_alpha / sqrt(r).")
    use_dora: bool = Field(False, description="Weight-decomposed adapters (DoRA).")
    autocast_adapter_dtype: bool = Field(
        True, description="Keep adapters in float32; false for the weights' type, over quantised ones bfloat16."
    )


class Dataset(Strict):
    """What is learnt from, and what it is judged on."""

    train: Source | Several = Field(description="Training rows: one source, or a list of sources that are mixed.")
    eval: OneOrNamed | None = Field(
        None, description="Validation rows: one source, or sources by name with a loss for each (`eval_NAME_loss`)."
    )
    eval_fraction: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Share of the training rows kept for validation, instead of `eval`."
    )
    format: Auto | DataFormat = Field("auto", description="Form of the rows; auto looks at the columns.")
    instruction_template: str = Field(
        "alpaca",
        description="alpaca, plain, chat (by the chat template), or a text with {instruction}, {input}, {output}.",
    )
    chat_template: str | None = Field(
        None,
        description="Lays conversations out instead of the model's own: a name (chatml, llama3 …) or a file.",
        examples=["chatml", "qwen3", "template.jinja"],
    )
    eos_token: str | None = Field(None, description="The token that ends each row, instead of the tokenizer's own.")
    pad_token: str | None = Field(None, description="The token that fills batches up, instead of the tokenizer's own.")
    add_tokens: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Special tokens that the tokenizer lacks; their rows of embedding and head are trained.",
        examples=[["<|im_start|>", "<|im_end|>"]],
    )
    chunk: bool = Field(False, description="Text longer than max_length: all of it in pieces, instead of a cut.")
    chunk_overlap: NonNegativeInt = Field(0, description="Tokens that a piece has in common with the one before it.")
    shuffle: bool = Field(True, description="Shuffle the training rows by `trainer.seed`.")

    @property
    def train_sources(self) -> dict[Path, Source]:
        """Each source of training rows, by its place in the recipe."""
        if isinstance(self.train, Source):
            return {("dataset", "train"): self.train}
        return {("dataset", "train", number): source for number, source in enumerate(self.train)}

    @property
    def eval_sources(self) -> dict[Path, Source]:
        """Each source of validation rows, by its place in the recipe."""
        if self.eval is None or isinstance(self.eval, Source):
            return {} if self.eval is None else {("dataset", "eval"): self.eval}
        return {("dataset", "eval", name): source for name, source in self.eval.items()}

    @property
    def sources(self) -> dict[Path, Source]:
        """All of them."""
        return self.train_sources | self.eval_sources


class Trainer(Strict):
    """TRL's SFTConfig by its own names."""

    engine: EngineName = Field("trl", description="The library that trains.")
    num_train_epochs: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        None, description="Passes over the data; or max_steps."
    )
    max_steps: PositiveInt | None = Field(None, description="Optimiser steps; or num_train_epochs.")
    max_length: PositiveInt = Field(1024, description="Tokens a training row; longer rows are cut.")
    packing: bool = Field(
        False, description="Put several rows into one sequence of max_length, kept apart by attention."
    )
    per_device_train_batch_size: PositiveInt = Field(8, description="Rows (packed sequences) a GPU takes at once.")
    per_device_eval_batch_size: PositiveInt | None = Field(
        None, description="The same for evaluation; as training if absent."
    )
    gradient_accumulation_steps: PositiveInt = Field(1, description="Batches added up before a step.")
    learning_rate: Auto | Annotated[float, Field(gt=0)] = Field("auto", description="Peak learning rate.")
    lr_scheduler_type: str = Field(
        "linear", description="Schedule of the learning rate.", examples=["linear", "cosine"]
    )
    warmup_steps: NonNegativeInt | None = Field(None, description="Steps until the peak; or warmup_ratio.")
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="The same as a share of all steps."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW's weight decay.")
    max_grad_norm: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Gradients are clipped to this norm; 0 for never."
    )
    optim: str = Field("adamw_torch_fused", description="Optimiser.", examples=["adamw_torch_fused", "adamw_8bit"])
    gradient_checkpointing: Auto | bool = Field("auto", description="Recompute activations to save memory.")
    use_liger_kernel: Auto | bool = Field("auto", description="Liger's fused kernels.")
    bf16: bool | None = Field(None, description="Mixed precision in bfloat16; or fp16.")
    fp16: bool | None = Field(None, description="Mixed precision in float16; or bf16.")
    assistant_only_loss: Auto | bool = Field("auto", description="Learn from the assistant's turns only (messages).")
    completion_only_loss: Auto | bool = Field(
        "auto", description="Learn from the completion only, not from the prompt."
    )
    logging_steps: PositiveInt = Field(10, description="Steps between two lines of the log.")
    eval_steps: PositiveInt | None = Field(None, description="Steps between evaluations; once at the end if absent.")
    evals_per_epoch: PositiveInt | None = Field(
        None, description="Evaluations an epoch, instead of eval_steps.", examples=[4]
    )
    save_steps: PositiveInt = Field(500, description="Steps between checkpoints.")
    saves_per_epoch: PositiveInt | None = Field(
        None, description="Checkpoints an epoch, instead of save_steps.", examples=[1]
    )
    save_total_limit: PositiveInt | None = Field(2, description="Checkpoints kept; the best one is kept besides.")
    load_best_model_at_end: bool = Field(False, description="Save the best evaluated weights, not the last step's.")
    metric_for_best_model: Text | None = Field(
        None,
        description="What the best is judged by: eval_loss if absent, or eval_mean_token_accuracy.",
        examples=["eval_loss", "eval_mean_token_accuracy"],
    )
    early_stopping_patience: PositiveInt | None = Field(
        None, description="Evaluations in a row without a better metric, after which training ends.", examples=[3]
    )
    seed: NonNegativeInt = Field(3407, description="Seed of order, initialisation and dropout.")
    report_to: Literal["none"] | tuple[Literal["trackio", "wandb", "mlflow", "tensorboard"], ...] = Field(
        "none", description="Experiment trackers, each told by a process beside the run."
    )
    extra: dict[str, Scalar | tuple[Scalar, ...] | dict[str, Scalar]] = Field(
        default_factory=dict, description="Any other field of TRL's SFTConfig."
    )

    @property
    def library(self) -> engines.Engine:
        """What one must know of the engine."""
        return engines.engine(self.engine)


class Image(Strict):
    """Additions to the engine's locked image."""

    pip: tuple[str, ...] = Field((), description="Requirements for pip.")
    apt: tuple[str, ...] = Field((), description="Debian packages.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables; never secrets.")


class Compute(Strict):
    """Where it runs: the keywords of Modal's `app.function`."""

    executor: Auto | ExecutorName = Field(
        "auto",
        description="Modal, or this machine; auto: Modal where `volumes`, a GPU or `secrets` are named, else here.",
    )
    gpu: str | tuple[str, ...] | None = Field(
        None,
        description="A Modal GPU, NAME:COUNT, or a list in order of preference; none for CPU.",
        examples=["H200", "H100:8", "none"],
    )
    nodes: PositiveInt = Field(1, description="Machines, each with the GPUs named.")
    timeout: str | int = Field(
        "24h", description="Limit of one attempt: 90s, 30m, 24h or seconds.", examples=["1h", "24h"]
    )
    cpu: Annotated[float, Field(gt=0, le=known.MOST_CORES)] | None = Field(None, description="Physical cores.")
    memory: str | PositiveInt | None = Field(None, description="Memory: 16GiB, or MiB as a number.", examples=["16GiB"])
    retries: Annotated[int, Field(ge=0, le=10)] = Field(3, description="New attempts after a failure.")
    region: str | None = Field(None, description="Modal region; multiplies the price.", examples=["us", "eu-west"])
    image: Image = Field(Image(), description="Additions to the engine's locked image.")


class Output(Strict):
    """Where the adapter goes."""

    dir: str = Field(
        min_length=1,
        description="The adapter's folder, relative to this file or absolute; on Modal below a mount. "
        "Checkpoints go beside it.",
        examples=["/outputs/my-adapter", "out/my-adapter"],
    )


class Samples(Strict):
    """Prompts answered before and after training."""

    prompts: tuple[str, ...] = Field((), description="Prompts, answered by base and tuned model.")
    max_new_tokens: PositiveInt = Field(128, description="Longest answer, in tokens.")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="Sampling temperature; 0 is greedy.")


class Budget(Strict):
    """Money."""

    max_usd: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="Refuse to start above it; stop with a checkpoint when it is reached.", examples=[20.0]
    )


class Recipe(Strict):
    """A fine-tuning recipe."""

    version: Literal[1] = Field(description="Version of this file's form.")
    name: Name = Field(description="Name of the recipe; runs are found by it.")
    description: str | None = Field(None, description="What it is for.")
    model: Model = Field(description="The base model.")
    quantization: Quantization | None = Field(None, description="Leave out to train on unquantised weights.")
    lora: Lora | None = Field(None, description="Leave out for full fine-tuning.")
    dataset: Dataset = Field(description="What is learnt from.")
    trainer: Trainer = Field(Trainer(), description="TRL's SFTConfig by its own names.")
    compute: Compute = Field(Compute(), description="Where it runs.")
    volumes: dict[str, str] = Field(default_factory=dict, description="Mount path: Modal Volume; here a folder each.")
    output: Output = Field(description="Where the adapter goes.")
    samples: Samples = Field(Samples(), description="Prompts answered before and after.")
    evaluation: Evaluation | None = Field(None, description="Base against tuned model, after training.")
    budget: Budget = Field(Budget(), description="Money.")
    secrets: tuple[str, ...] = Field((), description="Names of Modal Secrets; never values.")
    tags: dict[str, str] = Field(default_factory=dict, description="Labels of the run, for reports and bills.")

    @property
    def is_in_float32(self) -> bool:
        """Whether the weights have 32 bits: by what is written, or as all of them are trained."""
        return self.model.dtype == "float32" or (self.model.dtype == "auto" and self.lora is None)

    @property
    def place(self) -> executors.Executor:
        """What one must know of the executor."""
        return executors.executor(self.executor)

    @property
    def executor(self) -> ExecutorName:
        """As written; `auto` follows what else the recipe names."""
        if self.compute.executor != "auto":
            return self.compute.executor
        rents = self.volumes or self.secrets or self.compute.region or not _is_cpu(self.compute.gpu)
        return "modal" if rents else "local"


def _is_cpu(gpu: str | tuple[str, ...] | None) -> bool:
    return gpu is None or (isinstance(gpu, str) and gpu.lower() in known.NO_GPU)
