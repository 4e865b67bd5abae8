"""Model, data and arguments -> a trainer that stands ready."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from numpy import concatenate

from sftrun.contract.jobspec import JobSpec
from sftrun.job import arguments, fast_path, model, plain_head
from sftrun.job.callbacks import Watcher
from sftrun.job.channel import Channel
from sftrun.job.failures import JobFailure
from sftrun.job.tokens import Ids, Learnable
from sftrun.job.trainer import JobTrainer, SFTConfig


def trainer(
    spec: JobSpec, channel: Channel, tokenizer: Any, train: Learnable, evaluation: Learnable | None
) -> tuple[JobTrainer, Watcher]:
    """The base model with its adapter inside TRL's trainer, and the callback that speaks for it."""
    has_gpu = model.has_gpu()
    if not has_gpu:
        plain_head.install()
    options = arguments.sft_config(spec, has_eval=evaluation is not None, has_gpu=has_gpu)
    config = _config(options)
    if config.device.type == "cpu":
        config._setup_devices = torch.device("cpu")  # several processes have cpu:0, which torch.load does not know
    base, adapter = _model(spec)
    watcher = Watcher(0 if evaluation is None else len(evaluation))
    watcher.trainer = JobTrainer(
        spec,
        channel,
        model=base,
        args=config,
        train_dataset=_dataset(train),
        eval_dataset=None if evaluation is None else _dataset(evaluation),
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[watcher],
    )
    watcher.trainer.data_collator = fast_path.collator(spec, watcher.trainer.data_collator)
    return watcher.trainer, watcher


def total_steps(trainer: JobTrainer) -> int:
    """Optimiser steps of the whole run."""
    *_, max_steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    return int(max_steps)


def _config(options: arguments.Arguments) -> SFTConfig:
    try:
        return SFTConfig(**options)
    except (TypeError, ValueError) as error:
        raise JobFailure(
            "error", f"TRL refuses the trainer's settings: {error}", "see `trainer` and `trainer.extra`"
        ) from error


def _model(spec: JobSpec) -> tuple[Any, Any]:
    """(model, adapter's config); Unsloth puts its adapter on by itself."""
    if spec.trainer.engine == "unsloth":
        from sftrun.job import unsloth_engine

        return unsloth_engine.load(spec), None
    base = model.load_model(spec.model, spec.quantization)
    fast_path.require_attention(spec, base)
    return base, None if spec.lora is None else model.lora_config(spec.lora)


def _dataset(rows: Learnable) -> Dataset:
    """In memory, tokenised: TRL takes `input_ids` and `labels` as they are."""
    columns = {"input_ids": _lists(rows.input_ids), "labels": _lists(rows.labels)}
    return Dataset(InMemoryTable(pyarrow.table(columns)))


def _lists(rows: Sequence[Ids]) -> Any:
    """Arrow's list<int32>, from the rows' bytes and without an object for each token."""
    ends = accumulate(map(len, rows), initial=0)
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), pyarrow.array(concatenate(rows)))
