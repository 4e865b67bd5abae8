"""What the job says: one JSON object a line, each with a sequence number and a time.

The supervisor is the only writer of `events.jsonl`; it stamps `seq` (from 1, without gaps over all attempts) and `at`
(seconds since 1970).  Hearing an event twice does no harm: a reader keeps the highest `seq` it has seen.
Schema: `schemas/event-v1.schema.json`.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from sftrun.contract.answers import Answer, ModelName
from sftrun.contract.stepplan import StepPlan
from sftrun.strict import Strict
from sftrun.units import LAST_MOMENT

StageName = Literal[
    "start",
    "data",
    "model",
    "samples_before",
    "evaluate_before",
    "train",
    "eval",
    "samples_after",
    "save",
    "evaluate_after",
]
StopReason = Literal["user", "budget", "timeout", "preempted"]
FailureKind = Literal["out_of_memory", "data", "model", "disk", "package", "diverged", "killed", "stalled", "error"]
# read back, these are input: what is out of any run's reach is no event
Count = Annotated[int, Field(ge=0, le=2**53)]
Index = Annotated[int, Field(ge=0, lt=10_000)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Moment = Annotated[float, Field(ge=0, le=LAST_MOMENT)]
Usd = Annotated[Decimal, Field(ge=0, le=10**9)]


class Event(Strict):
    """What all events share."""

    seq: Count = 0
    at: Moment = 0.0


class Started(Event):
    """An attempt begins.  `resumed_from` is the step of the checkpoint it goes on from."""

    kind: Literal["started"] = "started"
    run_id: str
    attempt: Count
    host: str
    pid: int
    device: str
    gpu_count: Count
    resumed_from: Count | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class Stage(Event):
    """A stage begins; it ends where the next begins."""

    kind: Literal["stage"] = "stage"
    name: StageName
    detail: str = ""


class SourceShare(Strict):
    """One source of a mix: the rows and tokens that an epoch takes of it, and its share of the rows."""

    name: str
    rows: Count
    tokens: Count
    share: Amount


class DataReady(Event):
    """The rows as the trainer will see them: tokens after cutting at `max_length`; `learnt_tokens` have a label.

    `was_ready`: they stood tokenised on the disk, and nothing was tokenised now.  `sources` are those of a mix.
    """

    kind: Literal["data_ready"] = "data_ready"
    format: str
    rows: Count
    eval_rows: Count
    rows_dropped: Count = 0
    tokens: Count
    learnt_tokens: Count
    was_ready: bool = False
    sources: tuple[SourceShare, ...] = ()


class ModelReady(Event):
    """The model with its adapter, exact counts."""

    kind: Literal["model_ready"] = "model_ready"
    parameters: Count
    trainable_parameters: Count
    total_steps: Count
    first_step: Count = 0


class Disobeyed(Event):
    """An order of the job's `step` that its machine or model does not allow: `order` is the field's name."""

    kind: Literal["disobeyed"] = "disobeyed"
    order: str
    wanted: str
    done: str
    reason: str

    @property
    def message(self) -> str:
        """In a line."""
        return f"`step.{self.order}` is {self.done}, not {self.wanted}: {self.reason}"


class StepsReady(Event):
    """How steps are computed from now on, as the job sees it in what stands."""

    kind: Literal["steps_ready"] = "steps_ready"
    step: StepPlan


class Step(Event):
    """One logged optimiser step.  Rates are since the step before it in the log; memory is the peak, in GB (1e9)."""

    kind: Literal["step"] = "step"
    step: Count
    total_steps: Count
    epoch: Amount
    loss: float
    learning_rate: float
    grad_norm: float | None = None
    tokens: Count = 0
    tokens_per_second: Amount = 0.0
    seconds_per_step: Amount = 0.0
    memory_gb: Amount = 0.0
    data_wait_share: Amount = 0.0


class Evaluated(Event):
    """Mean loss over all validation rows after `step` steps, and the seconds that it took.

    `losses` are of each set that has a name (TRL's `eval_NAME_loss`), `loss` is then the mean over the tokens of all.
    `accuracy`: share of the learnt tokens that the model would have said itself, where it was measured.  `best_step`:
    of the best evaluation so far, this one included, where something is judged by it.
    """

    kind: Literal["eval"] = "eval"
    step: Count
    loss: float
    rows: Count
    seconds: Amount = 0.0
    losses: dict[str, float] = {}
    accuracy: float | None = None
    best_step: Count | None = None


class StoppedEarly(Event):
    """Training ends before its last step: so many evaluations were no better than the best one.  The run goes on."""

    kind: Literal["stopped_early"] = "stopped_early"
    step: Count
    patience: int
    metric: str
    best: float
    best_step: Count


class Sample(Event):
    """One prompt answered; `when` tells base from tuned."""

    kind: Literal["sample"] = "sample"
    when: Literal["before", "after"]
    index: Index
    prompt: str
    text: str


class Asking(Event):
    """A model is asked the rows of the recipe's `evaluation`; `done` of them were answered in an attempt before.

    `test_rows` are those that the verdict is about; others show what was forgotten.
    """

    kind: Literal["asking"] = "asking"
    model: ModelName
    rows: int
    test_rows: int
    done: int = 0


class Answered(Event):
    """One of these rows, answered."""

    kind: Literal["answer"] = "answer"
    answer: Answer


class Checkpoint(Event):
    """A checkpoint stands whole on the disk (its marker is written)."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: Count
    path: str
    seconds: Amount


class Note(Event):
    """Something that the user should know and that stops nothing."""

    kind: Literal["note"] = "note"
    level: Literal["info", "warning"] = "info"
    message: str


class Finished(Event):
    """The adapter and the tokenizer stand in `output_dir`; `saved_step`: whose weights, where not the last step's."""

    kind: Literal["finished"] = "finished"
    step: Count
    saved_step: int | None = None
    train_loss: float
    output_dir: str
    memory_gb: Amount = 0.0
    spent_usd: Usd = Decimal(0)


class Stopped(Event):
    """Ended early with a checkpoint (or before the first one): it can be resumed."""

    kind: Literal["stopped"] = "stopped"
    reason: StopReason
    step: Count
    checkpoint: str | None = None
    spent_usd: Usd = Decimal(0)


class Failed(Event):
    """Ended by an error.  `tail` is the last lines of the worker's output."""

    kind: Literal["failed"] = "failed"
    failure: FailureKind
    stage: StageName
    message: str
    help: str | None = None
    tail: tuple[str, ...] = ()
    spent_usd: Usd = Decimal(0)


AnyEvent = Annotated[
    Started
    | Stage
    | DataReady
    | ModelReady
    | Disobeyed
    | StepsReady
    | Step
    | Evaluated
    | StoppedEarly
    | Sample
    | Asking
    | Answered
    | Checkpoint
    | Note
    | Finished
    | Stopped
    | Failed,
    Field(discriminator="kind"),
]
_adapter: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def parse(line: str | bytes) -> AnyEvent:
    """Read one line of `events.jsonl`; raises pydantic's ValidationError on a torn or foreign one."""
    return _adapter.validate_json(line)


def dump(event: Event) -> str:
    """One line, without its newline."""
    return event.model_dump_json()
