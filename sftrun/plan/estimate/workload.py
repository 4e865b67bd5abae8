"""What one micro-batch computes on: tokens with padding, tokens that are data, the sum of squared row lengths.

Three ways of laying rows out cost very differently: padded to the longest of the batch, one after another
(padding-free), and packed into sequences of `max_length`.  In the last two a row attends to itself alone.
"""

import math
from typing import Literal, NamedTuple

from sftrun.contract.jobspec import TrainerSpec
from sftrun.contract.stepplan import Layout, StepPlan
from sftrun.facts.values import DataFacts
from sftrun.plan.estimate import lengths
from sftrun.plan.estimate.lengths import Lengths
from sftrun.recipe.models import Trainer

# a share of an epoch's sequences that several GPUs learn from again, below which it is no matter
REPEATED = 0.1


class Batch(NamedTuple):
    """A mean micro-batch of one GPU, and the largest of the run."""

    layout: Layout
    rows: float
    real_tokens: float
    tokens: float
    squares: float
    largest_tokens: float
    largest_squares: float


class Workload(NamedTuple):
    """A whole run.  `eval_steps`: training steps whose forward passes compute as much as one evaluation."""

    batch: Batch
    accumulation: int
    steps: int
    rows: float
    eval_rows: float
    eval_steps: float
    eval_rounds: int
    epoch_tokens: float
    source: Literal["counted", "declared"]


def workload(
    trainer: TrainerSpec,
    step: StepPlan,
    train: DataFacts,
    gpus: int,
    evaluation: DataFacts | None = None,
    eval_fraction: float = 0.0,
) -> Workload | None:
    """The run on `gpus` GPUs; None where neither lengths nor their mean are known."""
    found = lengths.of(train, trainer.max_length)
    steps = total_steps(trainer, train, gpus, eval_fraction)
    if found is None or steps is None:
        return None
    rows = train.rows_learnt * (1 - eval_fraction)
    eval_rows = float(evaluation.rows_learnt) if evaluation is not None else train.rows_learnt * eval_fraction
    mean = batch(trainer, step, found, steps * trainer.gradient_accumulation_steps, round(rows))
    evaluated = None if evaluation is None else lengths.of(evaluation, trainer.max_length)
    return Workload(
        batch=mean,
        accumulation=trainer.gradient_accumulation_steps,
        steps=steps,
        rows=rows,
        eval_rows=eval_rows,
        eval_steps=_eval_steps(trainer, step, evaluated or found, eval_rows, mean, gpus),
        eval_rounds=_eval_rounds(trainer, steps) if eval_rows else 0,
        epoch_tokens=rows * found.mean,
        source=train.source,
    )


def _eval_steps(trainer: TrainerSpec, step: StepPlan, found: Lengths, rows: float, trained: Batch, gpus: int) -> float:
    if not rows:
        return 0.0
    evaluated = batch(trainer, step, found, 1, max(round(rows), 1))
    batches = rows / max(evaluated.rows, 1) / max(gpus, 1)
    return batches / trainer.gradient_accumulation_steps * evaluated.tokens / trained.tokens


def _eval_rounds(trainer: TrainerSpec, steps: int) -> int:
    """Every so many steps and after the last; at the very start where that is asked for."""
    return math.ceil(steps / (trainer.eval_steps or steps)) + bool(trainer.extra.get("eval_on_start"))


def total_steps(
    trainer: Trainer | TrainerSpec, train: DataFacts | None, gpus: int, eval_fraction: float = 0.0
) -> int | None:
    """Optimiser steps of the whole run, as transformers' Trainer counts them; None where the rows are not known."""
    if trainer.max_steps is not None and trainer.max_steps > 0:
        return trainer.max_steps
    an_epoch = epoch_steps(trainer, train, gpus, eval_fraction)
    return None if an_epoch is None else math.ceil(an_epoch * (trainer.num_train_epochs or 1))


def epoch_steps(
    trainer: Trainer | TrainerSpec, train: DataFacts | None, gpus: int, eval_fraction: float = 0.0
) -> int | None:
    """Optimiser steps of one pass over the data; None where the rows are not known."""
    learnt = None if train is None else sequences(trainer, train, eval_fraction)
    if learnt is None:
        return None
    batches = math.ceil(learnt / (trainer.per_device_train_batch_size * max(gpus, 1)))
    return max(math.ceil(batches / trainer.gradient_accumulation_steps), 1)


def sequences(trainer: Trainer | TrainerSpec, train: DataFacts, eval_fraction: float = 0.0) -> int | None:
    """Rows of an epoch, or the bins of `max_length` tokens that they are packed into."""
    rows = train.rows_learnt * (1 - eval_fraction)
    if not trainer.packing:
        return round(rows)
    found, size = lengths.of(train, trainer.max_length), trainer.max_length
    if found is None:
        return None
    return math.ceil(rows * found.mean / (size * lengths.packed_share(found, size, round(rows))))


def repeated(sequences: int, each: int, gpus: int) -> int:
    """Sequences of an epoch that are learnt from again, where `gpus` GPUs take `each` at a time; 0 below `REPEATED`.

    accelerate gives each process as many: it fills up the last round with the epoch's first ones.
    """
    again = -sequences % (each * gpus) if gpus > 1 else 0
    return again if again > REPEATED * sequences else 0


def batch(
    trainer: TrainerSpec, step: StepPlan, found: Lengths, batches: float, rows: int = lengths.PACKED_SAMPLE
) -> Batch:
    """The mean and the largest micro-batch over that many, of data of so many rows."""
    size = trainer.per_device_train_batch_size
    if step.layout == "packed":
        share = lengths.packed_share(found, trainer.max_length, rows)
        return _packed(size * trainer.max_length, found, share, step.pad_to_multiple_of)
    real = size * found.mean
    if step.layout == "padding_free":
        largest = found.largest_sum(size, batches)
        filled = (step.pad_to_multiple_of or 0) / 2  # on average
        squares = size * found.mean_square
        return Batch("padding_free", size, real, real + filled, squares, largest + filled, largest * found.longest)
    wide, widest = found.mean_longest(size), found.longest
    return Batch("padded", size, real, size * wide, size * wide * wide, size * widest, size * widest * widest)


def _packed(size: int, found: Lengths, share: float, multiple: int | None) -> Batch:
    """Bins of `size` tokens together, which are not full; they are filled up where that makes few sizes."""
    rows, real = size * share / found.mean, size * share
    tokens = real if multiple is None else min(real + multiple / 2, size) if multiple < size else size
    squares = rows * found.mean_square
    return Batch("packed", rows, real, tokens, squares, size, max(squares, size * found.longest))


def worst_batch(trainer: TrainerSpec, step: StepPlan) -> Batch:
    """The largest batch that the settings allow, for memory where nothing is known of the data."""
    tokens = trainer.per_device_train_batch_size * trainer.max_length
    squares = float(tokens) * trainer.max_length
    return Batch(step.layout, trainer.per_device_train_batch_size, tokens, tokens, squares, tokens, squares)
