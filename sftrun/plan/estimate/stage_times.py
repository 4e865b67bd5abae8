"""Seconds of a run by stage, low and high.  Pure.

Steps come from the roofline (calibrated, corrected by runs, or reported); the other stages from plain rates, which are
wide because they were not measured where the job will run.  The GPU is rented through all of them but `prepare`: on
Modal a container without one fetches and tokenises, and the job finds rows and weights there.
"""

import math
from typing import Final, NamedTuple

from sftrun.contract.jobspec import SampleSpec
from sftrun.facts.gpus.calibration import Calibration
from sftrun.facts.values import Gpu
from sftrun.plan.estimate import memory
from sftrun.plan.estimate.learning import Correction
from sftrun.plan.estimate.roofline import StepTime, fetch_seconds, passes
from sftrun.plan.estimate.setup import Setup
from sftrun.plan.estimate.workload import Workload
from sftrun.plan.types import StageTime

GUESSED: Final = "a usual range, not measured"
START_SECONDS: Final = (10.0, 60.0)
# tokens: measured was half a million a CPU second (docs/data.md); reading what stands, a hundred million a second
TOKENISE_PER_CORE: Final = (500_000.0, 125_000.0)
MOST_CORES: Final = 16
READ_PER_SECOND: Final = (1e8, 1e7)
DOWNLOAD_BYTES: Final = (1e9, 2e8)
LOAD_BYTES: Final = (4e9, 1e9)
SAVE_BYTES: Final = (1e9, 1e8)
SAVE_SECONDS: Final = (0.5, 3.0)
# transformers' generate, a layer and token: launches, not work
DECODE_SECONDS_PER_LAYER: Final = (0.0007, 0.0016)
# rows of an evaluation in one batch, and how much longer their token may take
BATCH_ROWS: Final = 256
WIDE_BATCH: Final = 2.0
# how far a step may be off, besides what the calibration's own cells were
CALIBRATED, EXTRAPOLATED, REPORTED, SEEN = (0.90, 1.12), (0.75, 1.40), (0.97, 1.03), (0.95, 1.06)
# constants fitted to few cells are believed less
FEW_CELLS: Final = 12
FEW: Final = (0.80, 1.25)
# a step that waits for launches depends on the machine's CPU, which may be faster too (docs/estimates.md)
LAUNCH_BOUND: Final = 0.88
CPU_COUNTS: Final = 1.1  # and one that would take so many times as long on a busy one


class Place(NamedTuple):
    """Where rows are tokenised: beside the GPU, or apart from it: on Modal before it, else while the model loads."""

    is_modal: bool
    is_apart: bool
    cores: float


class Questions(NamedTuple):
    """The rows of an evaluation that each of two models answers."""

    rows: int
    max_new_tokens: int


class Pace(NamedTuple):
    """Seconds of a step with its range and what it rests on; a whole run's mean has the slow first steps in it."""

    seconds: float
    low: float
    high: float
    basis: str
    is_whole_run: bool = False


def pace(found: StepTime, gpu: Gpu, setup: Setup, calibration: Calibration, correction: Correction) -> Pace:
    """The roofline's step, corrected by what runs have shown."""
    seconds = found.seconds * correction.factor
    constants = calibration.stacks[setup.stack]
    waits_if_busy = found.busy > CPU_COUNTS * found.seconds  # and a CPU is busier, or calmer, than a run had it
    least, most = (min(seconds, found.seconds), max(seconds, found.busy)) if waits_if_busy else (seconds, seconds)
    if correction.kind == "same":
        return Pace(seconds, least * SEEN[0], most * SEEN[1], correction.words)
    measured = " and an ".join(constants.gpus)
    here = gpu.name in constants.gpus and setup.gpus == 1 and constants.cells > 0
    low, high = (FEW if constants.cells < FEW_CELLS else CALIBRATED) if here else EXTRAPOLATED
    if here:
        low, high = min(low, 1 - constants.worst_error), max(high, 1 + constants.worst_error)
        words = f"calibrated on {constants.cells} runs on an {measured}, {constants.date}"
    elif not constants.cells:
        words = f"extrapolated: {setup.stack} code was not calibrated, the constants are those of its nearest"
    else:
        words = f"extrapolated from an {measured} by compute and bandwidth"
    if found.is_launch_bound:
        low *= LAUNCH_BOUND
        words = f"{words}; the step waits for launches, so the CPU counts"
    elif waits_if_busy:
        words = f"{words}; where others use the machine's CPU the step waits for launches"
    basis = f"{words}; {correction.words}" if correction.runs else words
    return Pace(seconds, least * low, most * high, basis)


def stages(
    setup: Setup,
    work: Workload,
    step: Pace,
    plain: Pace,
    samples: SampleSpec,
    calibration: Calibration,
    gpu: Gpu,
    place: Place,
    questions: Questions | None = None,
) -> tuple[StageTime, ...]:
    """Every stage in its order, under the names of the job's events and of the waits before it.

    `plain` is a step that replays no CUDA graph: evaluation never does.
    """
    return (
        *_begin(setup, work, place),
        _samples("samples_before", setup, samples, gpu),
        *_asked("evaluate_before", setup, questions, gpu),
        _train(setup, work, step, calibration),
        _eval(setup, work, plain),
        _samples("samples_after", setup, samples, gpu),
        _save(setup, work),
        *_asked("evaluate_after", setup, questions, gpu),
    )


def attempts(stages: tuple[StageTime, ...], timeout: float) -> int:
    """Attempts that the run takes: each begins anew with everything before the steps."""
    likely = {s.name: s.expected for s in stages if s.has_gpu}
    before = sum(likely.get(name, 0.0) for name in ("start", "data", "model", "samples_before", "evaluate_before"))
    after = sum(likely.values()) - before
    return max(math.ceil(after / max(timeout - before, 1.0)), 1)


def again(stages: tuple[StageTime, ...], tries: int) -> StageTime:
    """What the attempts after the first repeat."""
    begins = [s for s in stages if s.name in ("start", "data", "model")]
    more = tries - 1
    return StageTime(
        name="attempts",
        low=sum(s.low for s in begins) * more,
        high=sum(s.high for s in begins) * more,
        basis=f"{more} more starts within the timeout",
    )


def _begin(setup: Setup, work: Workload, place: Place) -> tuple[StageTime, ...]:
    stored = setup.model.bytes_on_disk or setup.model.parameters * setup.weight_bytes
    fetch = 0.0 if setup.model.source == "folder" else stored / DOWNLOAD_BYTES[1]
    cores = min(place.cores, MOST_CORES)
    tokenise = _rated("data", work.epoch_tokens, (TOKENISE_PER_CORE[0] * cores, TOKENISE_PER_CORE[1] * cores))
    start = StageTime(name="start", low=START_SECONDS[0] * place.is_modal, high=START_SECONDS[1], basis=GUESSED)
    if place.is_modal and place.is_apart:
        before = StageTime(
            name="prepare",
            low=0.0,
            high=START_SECONDS[1] + fetch + tokenise.high,
            basis="model and data on CPU; nothing where an earlier run has left them",
            has_gpu=False,
        )
        read = _rated("data", work.epoch_tokens, READ_PER_SECOND).model_copy(update={"basis": "read, tokenised before"})
        return before, start, read, _model(stored, 0.0, "from the Volume")
    model = _model(stored, fetch, "from a folder" if not fetch else "downloaded, unless it is here already")
    if not place.is_apart:
        return start, tokenise, model
    rest = {"low": max(model.low - tokenise.low, 0.0), "high": max(model.high - tokenise.high, 0.0)}
    basis = f"{model.basis}; what is left of it once the rows are tokenised"
    return start, tokenise, model.model_copy(update={**rest, "basis": basis})


def _rated(name: str, amount: float, rates: tuple[float, float], floor: float = 2.0) -> StageTime:
    return StageTime(name=name, low=amount / rates[0], high=floor + amount / rates[1], basis=GUESSED)


def _model(stored: float, fetch: float, basis: str) -> StageTime:
    return StageTime(name="model", low=stored / LOAD_BYTES[0], high=3 + fetch + stored / LOAD_BYTES[1], basis=basis)


def first_steps(setup: Setup, step: Pace, calibration: Calibration) -> float:
    """What the first steps take beyond steady ones; a whole run's mean has that in it."""
    return 0.0 if step.is_whole_run else calibration.stacks[setup.stack].compile_seconds


def _train(setup: Setup, work: Workload, step: Pace, calibration: Calibration) -> StageTime:
    first = first_steps(setup, step, calibration)
    low, high = work.steps * step.low + first * 0.5, work.steps * step.high + first * 2
    early = "; early stopping may end it sooner" if setup.trainer.early_stopping_patience is not None else ""
    likely = work.steps * step.seconds + first
    return StageTime(name="train", low=low, likely=likely, high=high, basis=step.basis + early)


def _eval(setup: Setup, work: Workload, step: Pace) -> StageTime:
    """A forward pass over the validation rows, at the training's layout."""
    steps = work.eval_rounds * work.eval_steps / passes(setup)
    words = f"{work.eval_rounds} × {work.eval_rows:,.0f} rows, forward alone"
    low, likely, high = (steps * share for share in (step.low * 0.7, step.seconds, step.high * 1.3))
    return StageTime(name="eval", low=low, likely=likely, high=high, basis=words)


def _samples(name: str, setup: Setup, samples: SampleSpec, gpu: Gpu) -> StageTime:
    """Each token asks for every layer, and sharded weights are fetched for it."""
    tokens, fetched = len(samples.prompts) * samples.max_new_tokens, fetch_seconds(setup, gpu)
    low, high = (tokens * (setup.model.layers * seconds + fetched) for seconds in DECODE_SECONDS_PER_LAYER)
    return StageTime(name=name, low=low * 0.3, high=high, basis=f"{len(samples.prompts)} prompts; answers may be short")


def _asked(name: str, setup: Setup, questions: Questions | None, gpu: Gpu) -> tuple[StageTime, ...]:
    """Rows are asked in batches, and a batch's token takes hardly longer than one row's."""
    if questions is None:
        return ()
    batches, fetched = math.ceil(questions.rows / BATCH_ROWS), fetch_seconds(setup, gpu)
    tokens = batches * questions.max_new_tokens
    low, high = (tokens * (setup.model.layers * seconds + fetched) for seconds in DECODE_SECONDS_PER_LAYER)
    words = f"{questions.rows:,} rows in {batches:,} {'batch' if batches == 1 else 'batches'}; answers may be short"
    return (StageTime(name=name, low=low * 0.3, high=high * WIDE_BATCH, basis=words),)


def _save(setup: Setup, work: Workload) -> StageTime:
    """At each interval and at the end; at most at each evaluation too, where the best is to be kept."""
    times = max(work.steps // setup.trainer.save_steps, 0) + 1
    most = times + work.eval_rounds * setup.trainer.load_best_model_at_end
    size = setup.trained_bytes + memory.optimizer_bytes(setup)
    low, high = (n * (SAVE_SECONDS[i] + size / SAVE_BYTES[i]) for i, n in enumerate((times, most)))
    words = f"{times} × {size / 1e9:.2f} GB" + (
        f", and at most {most - times} that are the best" if most > times else ""
    )
    return StageTime(name="save", low=low, high=high, basis=words)
