"""Facts as values: what `gather` found out, and where from.  None means 'could not be known from here'."""

from decimal import Decimal
from typing import Any, Literal

from sftrun.contract.choices import DataFormat
from sftrun.rows.raw.find import Files, has_lines, kind
from sftrun.strict import Strict


class Linear(Strict):
    """Linear layers of one name and shape: `name` is the last part (`q_proj`), `count` how many the model has.

    `path` is the full name with `*` for a layer's number, `layers` those numbers where they are not 0 to count - 1.
    Experts are no modules: transformers stacks them in one parameter a layer, `experts` of them, each of this shape
    (`count` counts every one).  The output head is not among them: see `OtherModule`.
    """

    name: str
    in_features: int
    out_features: int
    count: int
    fused: bool = False
    expert: bool = False
    path: str = ""
    layers: tuple[int, ...] = ()
    bias: bool = False
    experts: int = 0


class OtherModule(Strict):
    """Modules with parameters that are no linear layers: `parameters` in each, of them `bias_parameters` in biases.

    Embeddings, heads and routers have a `shape` (rows, columns): an adapter can be put on them by name.
    A tied head has a shape and no parameters of its own.
    """

    path: str
    kind: Literal["embedding", "head", "router", "norm", "other"]
    parameters: int
    count: int = 1
    bias_parameters: int = 0
    layers: tuple[int, ...] = ()
    shape: tuple[int, int] | None = None


class ModelFacts(Strict):
    """A model's architecture without its weights, from config.json and safetensors headers.

    `embedding_parameters` counts input embeddings (and the head when it is not tied); `parameters` everything once:
    embeddings, the weights of `linears`, and `other_parameters` (biases, norms, routers).
    `module_names` are the last parts of all modules' names, each once.
    """

    source: Literal["folder", "cache", "hub", "shipped"]
    name_or_path: str
    commit: str | None
    content_sha256: str | None = None
    architecture: str
    model_type: str
    parameters: int
    embedding_parameters: int
    other_parameters: int
    linears: tuple[Linear, ...]
    module_names: tuple[str, ...] = ()
    others: tuple[OtherModule, ...] = ()
    dtype: str
    hidden_size: int
    intermediate_size: int
    layers: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int | None
    tie_word_embeddings: bool
    sliding_window: int | None = None
    softcapping: bool = False
    drops_attention: bool = False
    scaled_logits: bool = False
    experts: int = 0
    experts_per_token: int = 0
    has_chat_template: bool | None = None
    gated: bool = False
    bytes_on_disk: int = 0


class AdapterFacts(Strict):
    """An adapter to go on from: its folder on this machine, and what its files say.

    `name` is how the recipe calls it, `run_id` the run that trained it, where one of this ledger did.  `shapes`: the
    (in, out) features of each module that it changes, by the module's whole name.  `is_output`: the run would end
    there.  `lora` is what a recipe's section would say.
    """

    name: str
    run_id: str | None = None
    folder: str
    sha256: str
    base_model: str | None
    lora: dict[str, Any]
    shapes: dict[str, tuple[int, int]] = {}
    is_output: bool = False


FaultKind = Literal[
    "syntax", "form", "roles", "nothing_learnt", "duplicate", "in_train", "template", "incomplete", "border", "blank",
    "two_begins", "special", "secret", "personal"
]  # fmt: skip


class RowFault(Strict):
    """Something wrong with one row: `line` of `file` (of .json and .parquet: the entry's number), and what.

    `text` is the line as it stands in the file, as much as can be shown; empty where a row is no line.
    """

    file: str
    line: int
    message: str
    column: int = 1
    text: str = ""
    kind: FaultKind

    @property
    def is_at_a_line(self) -> bool:
        """Whether `line` counts the file's lines, not its entries."""
        return has_lines(self.file) or (self.kind == "syntax" and kind(self.file) == ".json")


class DataFacts(Strict):
    """One data source as read: counted where the files can be read, declared where they can't.

    Token figures are after cutting at `max_length`, of rows in which something is learnt: the job leaves the others
    out.  `percentiles` (50, 90, 99, 100) and `length_counts` (tokens, rows) are of all rows before they are cut.
    `learnt_tokens` are those that give a loss, `unlearnt_tokens` those that were cut off.  `pieces` are those of texts
    in several, beyond the first.  Without a tokenizer in reach they are None and 0, and
    `no_lengths` says why.  `faults` holds the first few rows of each kind, the counts beside it all of them.
    `private` are kinds of keys and personal data (rows that look like holding them).
    `unread_columns` say something to a model and are not read by this form (rows that fill them), `renamed_roles` were
    read as others (turns), `lacking_tokens` are those that the recipe names and the tokenizer has not (key, token).
    `read_as` says which columns have other names than the form's (form's, column's), `found_names` those of them that
    nobody wrote, `missing_columns` which written ones the rows have not (form's name, nearest column or empty).
    `divided_by` is the sign of a table where it is no comma.
    `ends` are the tokens that turns would be trained to end with, `eos_token` is the tokenizer's.  `unknown_marks` are
    printed by the named chat template as if they were tokens, and are none.  `never_ends`: no token ends turns.
    """

    source: Literal["counted", "declared"]
    format: DataFormat | None
    rows: int
    tokens: int | None = None
    learnt_tokens: int | None = None
    mean_tokens: float | None = None
    percentiles: dict[str, int] = {}
    length_counts: tuple[tuple[int, int], ...] = ()
    rows_cut: int = 0
    pieces: int = 0
    unlearnt_tokens: int = 0
    rows_nothing_learnt: int = 0
    bytes: int = 0
    sha256: str | None = None
    columns: tuple[str, ...] = ()
    max_length: int | None = None
    length_for_99_percent: int | None = None
    no_lengths: str | None = None
    rows_broken: int = 0
    rows_misshapen: int = 0
    rows_duplicate: int = 0
    rows_in_train: int = 0
    rows_roles_out_of_order: int = 0
    rows_unrenderable: int = 0
    rows_incomplete: int = 0
    rows_border_merged: int = 0
    rows_blank: int = 0
    rows_with_two_begins: int = 0
    rows_with_special_tokens: int = 0
    rows_with_secrets: int = 0
    rows_with_personal_data: int = 0
    private: dict[str, int] = {}
    read_as: dict[str, str] = {}
    found_names: dict[str, str] = {}
    missing_columns: dict[str, str] = {}
    unread_columns: dict[str, int] = {}
    renamed_roles: dict[str, int] = {}
    lacking_tokens: dict[str, str] = {}
    template_asks: bool = True
    ends: tuple[str, ...] = ()
    unknown_marks: tuple[str, ...] = ()
    never_ends: bool = False
    eos_token: str | None = None
    divided_by: str | None = None
    faults: tuple[RowFault, ...] = ()

    @property
    def rows_learnt(self) -> int:
        """Rows that the job keeps: those in which something is learnt, of texts in several pieces each piece."""
        return self.rows + self.pieces - self.rows_nothing_learnt


class Gpu(Strict):
    """One kind of GPU, that Modal rents or that people own.  Rates are the vendor's dense figures unless `measured`.

    `memory_gb`: 1e9 bytes that a job can take, with CUDA's context: not the vendor's GB, which are mostly GiB.
    """

    name: str
    aliases: tuple[str, ...] = ()
    memory_gb: float
    bf16_tflops: float
    memory_gb_per_second: float
    compute_capability: tuple[int, int]
    max_per_container: int = 8
    has_bf16: bool = True
    usd_per_second: Decimal


class Prices(Strict):
    """What things cost, and when that was true (ISO date)."""

    date: str
    source: str
    cpu_core_usd_per_second: Decimal
    memory_gib_usd_per_second: Decimal
    volume_gib_month_usd: Decimal
    volume_free_gib: float
    region_multipliers: dict[str, Decimal]


class Catalog(Strict):
    """The dated data files of this program."""

    gpus: tuple[Gpu, ...]  # that Modal rents
    prices: Prices
    cards: tuple[Gpu, ...] = ()  # that people own, or rent elsewhere; 0 USD unless a file of one's own says more


class Machine(Strict):
    """This machine, for the local executor."""

    gpu_name: str | None = None
    gpu_count: int = 0
    gpu_memory_gb: float = 0.0
    has_bf16: bool = True
    cpu_cores: int = 1
    memory_gb: float = 0.0
    usd_per_hour: Decimal = Decimal(0)  # what its owner says it costs; nothing is rented by running here


class EvaluationFacts(Strict):
    """What is known of the recipe's `evaluation`; None where it could not be read from here."""

    files: Files = Files()
    general_files: Files = Files()
    rows: DataFacts | None = None
    general: DataFacts | None = None
    json_schema: str | None = None


class SourceFacts(Strict):
    """One source of rows: its files that are here, and what they hold."""

    files: Files = Files()
    rows: DataFacts | None = None


class Facts(Strict):
    """All that a plan may rest on besides the recipe.

    `train` and `eval` are all rows of each, `sources` each source by its key where there are several.
    """

    catalog: Catalog
    today: str
    machine: Machine
    lock: dict[str, str]
    model: ModelFacts | None = None
    adapter: AdapterFacts | None = None
    sources: dict[str, SourceFacts] = {}
    train_files: Files = Files()
    eval_files: Files = Files()
    train: DataFacts | None = None
    eval: DataFacts | None = None
    evaluation: EvaluationFacts = EvaluationFacts()
    chat_template: str | None = None
    output_holds: str | None = None
    trackers_missing: tuple[str, ...] = ()

    @property
    def adapter_lora(self) -> dict[str, Any] | None:
        """The `lora` section of the adapter that is gone on from, as a recipe would write it."""
        return None if self.adapter is None else self.adapter.lora

    def of(self, key: str) -> SourceFacts:
        """One source by its dotted key (`dataset.train`, `dataset.train.0`, `dataset.eval.tables`)."""
        if key in self.sources:
            return self.sources[key]
        is_train = key.startswith("dataset.train")
        return SourceFacts(
            files=self.train_files if is_train else self.eval_files, rows=self.train if is_train else self.eval
        )
