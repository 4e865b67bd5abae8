"""Model, data and arguments -> a trainer that stands ready."""

import importlib
import os
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any

import torch

from sftrun.contract.jobspec import JobSpec
from sftrun.job.channel import Channel
from sftrun.job.failures import JobFailure
from sftrun.job.fast import fast_path, plain_head
from sftrun.job.obey.orders import Orders
from sftrun.job.prepare import row_tokenizer
from sftrun.job.prepare.prepared import Prepared
from sftrun.job.train import added_tokens, arguments, loading
from sftrun.job.train.callbacks import Watcher
from sftrun.job.train.trainer import JobTrainer, SFTConfig

Loaded = tuple[Any, Any]  # the model, and its adapter's config


def trainer(
    spec: JobSpec,
    channel: Channel,
    orders: Orders,
    tokenizer: Any,
    data: Prepared,
    weights: Callable[[], Loaded] | None = None,
) -> tuple[JobTrainer, Watcher]:
    """The base model with its adapter inside TRL's trainer, and the callback that speaks for it."""
    has_gpu = loading.has_gpu()
    if not has_gpu:
        plain_head.install()
    evaluation = data.evaluation()
    config = _config(arguments.sft_config(spec, has_eval=evaluation is not None, has_gpu=has_gpu))
    if config.device.type == "cpu":
        config._setup_devices = torch.device("cpu")  # several processes have cpu:0, which torch.load does not know
    base, adapter = weights() if weights else _model(spec)
    watcher = Watcher(data.eval_rows)
    watcher.trainer = JobTrainer(
        spec,
        channel,
        orders,
        model=base,
        args=config,
        train_dataset=data.train(),
        eval_dataset=evaluation,
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[watcher],
    )
    made = watcher.trainer
    if spec.lora is not None and spec.lora.added_tokens:
        added_tokens.with_bias(made.model)
    made.data_collator = fast_path.collator(spec, made.data_collator, made.model.config)
    return watcher.trainer, watcher


def weights_ahead(spec: JobSpec) -> Callable[[], Loaded]:
    """Begin to load the model; what is returned waits for it, and raises what went wrong."""
    done: Future[Loaded] = Future()

    def load() -> None:
        try:
            if loading.has_gpu():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # each thread has a device of its own
            done.set_result(_model(spec))
        except BaseException as error:
            done.set_exception(error)

    Thread(target=load, daemon=True).start()  # a run that has failed meanwhile does not wait for it
    return done.result


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


def _model(spec: JobSpec) -> Loaded:
    """An engine with a loader of its own puts its adapter on by itself."""
    loader = spec.trainer.library.loader
    if loader is not None:
        return importlib.import_module(loader).load(spec), None
    base = loading.load_model(spec.model, spec.quantization, spec.step)
    fast_path.require_attention(spec, base)
    if spec.lora is not None and spec.adapter is not None:
        return loading.with_adapter(base, spec.adapter, spec.lora), None
    adapter = None if spec.lora is None else loading.lora_config(spec.lora)
    if spec.rows.add_tokens:
        tokens = row_tokenizer.of_job(spec)
        added_tokens.fit(base, tokens)
        if adapter is not None and spec.lora is not None and spec.lora.added_tokens:
            adapter.trainable_token_indices = added_tokens.trained_rows(base, tokens)
    return base, adapter
