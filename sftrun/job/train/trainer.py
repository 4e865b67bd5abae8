"""TRL's SFTTrainer with what a run needs besides: whole checkpoints, an unbroken log over a resume, honest clocks.

transformers restores weights, optimiser, schedule, data order and random states.  Two things it does not, each of which
bends the loss curve after a resume: the part of a logging window before the checkpoint, and the type of a quantised
model's adapter (TRL makes it bf16, PEFT's `load_adapter` makes it fp32 again).
"""

import functools
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from sftrun.contract import events
from sftrun.contract.jobspec import JobSpec
from sftrun.disk import outside
from sftrun.job.channel import Channel
from sftrun.job.failures import JobFailure
from sftrun.job.fast import head, sharded
from sftrun.job.obey.orders import Orders
from sftrun.job.supervise import checkpoints
from sftrun.job.train.best_so_far import Best
from sftrun.job.train.loading import cast_adapters, widen_trained
from sftrun.rows.labels import IGNORED
from sftrun.step.precision import widens_trained

STATE = "sftrun-state.json"
ACCURACY = "eval_mean_token_accuracy"

__all__ = ["ACCURACY", "STATE", "JobTrainer", "SFTConfig"]


class JobTrainer(SFTTrainer):
    """`seconds_paused` and `seconds_waiting` are for the callbacks' rates: evaluation and saving, and data."""

    model: Any

    def __init__(self, spec: JobSpec, channel: Channel, orders: Orders, **options: Any) -> None:
        self.spec, self.channel = spec, channel
        self.seconds_paused = 0.0
        self.seconds_waiting = 0.0
        self._tokens = self._tokens_before = 0
        self._of_sets = [0.0, 0.0, 0.0]
        self.best = Best(spec.trainer)
        self.loaded_step: int | None = None  # the best one's, once its weights are loaded
        super().__init__(**options)
        if widens_trained(spec.trainer):
            widen_trained(self.model)
        elif spec.step.precision.adapters is not None:
            cast_adapters(self.model, spec.step.precision.adapters)
        self.head = head.install(self, spec.step.head, functools.partial(orders.refuse, "head"))
        self.remove_callback(PrinterCallback)  # the events say it; the log is for what libraries complain of
        self.adapter_dtypes = {name: p.dtype for name, p in self.model.named_parameters() if p.requires_grad}

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp:
            sharded.set_up(self.accelerator, self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def shard_weights(self) -> None:
        """Share the weights out among the processes; an evaluation and all else then find them so."""
        self.model = self.model_wrapped = sharded.begin(self.accelerator, self.model)
        self.optimizer = self.accelerator.prepare_optimizer(self.create_optimizer())
        self.channel.note(sharded.summary(self.model))

    def get_batch_samples(self, *arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        try:
            return super().get_batch_samples(*arguments, **options)
        finally:
            self.seconds_waiting += time.perf_counter() - begin

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of `head` where it is TRL's, else TRL's own; counts the tokens that somebody wrote."""
        tokens = inputs.pop(head.TOKENS, 0)
        if self.is_fsdp_enabled:
            sharded.fetch_head(self.model)
        is_by_accuracy = not self.model.training and self.best.metric == ACCURACY
        if self.head != "trl" and not return_outputs and not is_by_accuracy:
            processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
            loss = head.loss(model, inputs, num_items_in_batch, processes)
        else:
            for name in (head.LEARNT, head.TARGETS):
                inputs.pop(name, None)
            loss = super().compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        if self.model.training:
            self._tokens += tokens
        else:
            self._add_evaluated(loss[0] if isinstance(loss, tuple) else loss, inputs["labels"])
        return loss

    def tokens(self) -> int:
        """Tokens trained on so far in all processes, which must all ask."""
        if self.accelerator.num_processes == 1:
            return self._tokens_before + self._tokens
        mine = torch.tensor([self._tokens], device=self.args.device)
        return self._tokens_before + int(self.accelerator.gather(mine).sum())

    def evaluation_loop(self, *arguments: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
        """TRL's, with the mean over tokens: its mean over batches would depend on how rows lie in them."""
        self._evaluated = torch.zeros(3, dtype=torch.float64, device=self.args.device)
        output = super().evaluation_loop(*arguments, metric_key_prefix=metric_key_prefix, **options)
        loss, right, tokens = self.accelerator.gather(self._evaluated[None]).sum(0).tolist()
        has_accuracy = bool(self._metrics["eval"].pop("mean_token_accuracy", None)) if tokens else False
        self._of_sets = [old + new for old, new in zip(self._of_sets, (loss, right, tokens), strict=True)]
        output.metrics.update(_means(metric_key_prefix, loss, right if has_accuracy else None, tokens))
        return output

    def _add_evaluated(self, loss: torch.Tensor, labels: torch.Tensor) -> None:
        tokens = (labels[..., 1:] != IGNORED).sum()
        share = torch.as_tensor((self._metrics["eval"].get("mean_token_accuracy") or [0.0])[-1])
        parts = [loss.detach().double() * tokens, share.to(tokens.device).double() * tokens, tokens.double()]
        self._evaluated += torch.stack(parts)

    @property
    def eval_names(self) -> tuple[str, ...]:
        """Of the sets of validation rows; empty where there is one without a name."""
        return tuple(self.eval_dataset) if isinstance(self.eval_dataset, dict) else ()

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """transformers' own; of several sets it is called again for each, and then tells of all of them together."""
        if self.eval_names and not arguments and "eval_dataset" not in options:
            return self._evaluate_all(**options)
        begin = time.perf_counter()
        try:
            return super().evaluate(*arguments, **options)
        finally:
            self.seconds_paused += time.perf_counter() - begin

    def _evaluate_all(self, **options: Any) -> dict[str, float]:
        """Each set, then the mean over the tokens of all: that is what a best checkpoint is judged by."""
        self._of_sets = [0.0, 0.0, 0.0]
        metrics: dict[str, float] = super().evaluate(**options)
        loss, right, tokens = self._of_sets
        has_accuracy = any(key.endswith(ACCURACY.removeprefix("eval")) for key in metrics)
        metrics |= _means("eval", loss, right if has_accuracy else None, tokens)
        metrics["eval_runtime"] = sum(metrics.get(f"eval_{name}_runtime", 0.0) for name in self.eval_names)
        self.log({key: metrics[key] for key in ("eval_loss", ACCURACY) if key in metrics})
        hear: Any = self.callback_handler.on_evaluate
        self.control: Any = hear(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save, then mark as whole, then drop old ones: in that order there is always one to go on from."""
        begin = time.perf_counter()
        window_loss = self._mean_over_processes(self._tr_loss)
        if not math.isfinite(window_loss):
            raise diverged(self.state.global_step, window_loss)
        path = Path(self.args.output_dir) / f"{checkpoints.PREFIX}{self.state.global_step}"
        super(SFTTrainer, self)._save_checkpoint(model, trial)  # TRL's own would write a model card beside it
        self.accelerator.wait_for_everyone()
        log_state = self._log_state(window_loss)
        if self.is_world_process_zero():
            (path / STATE).write_text(json.dumps(log_state))
            checkpoints.complete(path, self.spec.run_id, self.state.global_step)
            checkpoints.rotate(
                self.args.output_dir, self.spec.trainer.save_total_limit, self.state.best_model_checkpoint
            )
        seconds = time.perf_counter() - begin
        self.seconds_paused += seconds
        self.channel.say(events.Checkpoint(step=self.state.global_step, path=str(path), seconds=round(seconds, 3)))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As one process would save it."""
        if not self.is_fsdp_enabled:
            return super().save_model(output_dir, _internal_call)
        weights = sharded.gather(self.model, self.args.should_save)
        if self.args.should_save:
            self._save(output_dir, state_dict=weights)
        return None

    def trained_weights(self) -> dict[str, torch.Tensor] | None:
        """Whole, in the type that they were loaded in; None where the model has them.  All processes must ask."""
        if not self.is_fsdp_enabled:
            return None
        weights = sharded.gather(self.model, self.is_world_process_zero())
        return {name: weight.to(self.adapter_dtypes[name]) for name, weight in weights.items()}

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            return super()._save_optimizer_and_scheduler(output_dir)
        state = sharded.gather_state(self.optimizer.state_dict(), self.args.should_save)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)
        return None

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.is_fsdp_enabled or checkpoint is None:
            return super()._load_optimizer_and_scheduler(checkpoint)
        state, schedule = (
            torch.load(Path(checkpoint) / name, map_location="cpu", mmap=True, weights_only=True)
            for name in (OPTIMIZER_NAME, SCHEDULER_NAME)
        )
        sharded.restore_state(self.optimizer, state)
        self.lr_scheduler.load_state_dict(schedule)
        return None

    def _log_state(self, window_loss: float) -> dict[str, Any]:
        return self.best.kept() | {
            "window_loss": window_loss,
            "total_loss": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "tokens": self.tokens(),
        }

    def restore_log(self, checkpoint: str) -> None:
        """Go on in the middle of a logging window; called when training begins."""
        state: dict[str, Any] = outside.read_object(Path(checkpoint) / STATE)
        self._tr_loss += state["window_loss"]
        self._total_loss_scalar = state["total_loss"]
        self._globalstep_last_logged = int(state["last_logged"])
        self._tokens_before = int(state["tokens"])
        self.best.restore(state)

    def is_over(self, checkpoint: str, total_steps: int) -> bool:
        """Whether no step is left after this checkpoint: all are done, or training has stopped early there."""
        state: dict[str, Any] = outside.read_object(Path(checkpoint) / STATE)
        step = int(Path(checkpoint).name.removeprefix(checkpoints.PREFIX))
        return step >= total_steps or state.get("stopped_early") is True

    def finish_from(self, checkpoint: str) -> float:
        """Take up the last checkpoint of a run whose steps are all done; returns the mean training loss."""
        from transformers.trainer_callback import TrainerState

        self._load_from_checkpoint(checkpoint)
        self.state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self._load_best_model()
        state: dict[str, Any] = outside.read_object(Path(checkpoint) / STATE)
        self.best.restore(state)
        return (state["total_loss"] + state["window_loss"]) / max(1, self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            return sharded.restore(self.model, resume_from_checkpoint)
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        return self._restore_dtypes()

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint)
        if (why := checkpoints.fault(best, self.spec.run_id)) is not None:
            message = f"{best.name} was the best, and can't be loaded: {why}; the last step's weights are saved"
            return self.channel.note(message, is_warning=True)
        self.loaded_step = int(best.name.removeprefix(checkpoints.PREFIX))
        if self.is_fsdp_enabled:
            return sharded.restore(self.model, str(best))
        super()._load_best_model()
        return self._restore_dtypes()

    def _save_rng_state(self, output_dir: str) -> None:
        """transformers', with the files of other machines brought to the first one, whose disk is kept."""
        if self.spec.nodes == 1:
            return super()._save_rng_state(output_dir)
        with tempfile.TemporaryDirectory() as folder:
            super()._save_rng_state(folder)
            mine = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        states: list[dict[str, bytes]] = [{}] * self.args.world_size
        torch.distributed.all_gather_object(states, mine)
        if self.is_world_process_zero():
            for name, data in (item for state in states for item in state.items()):
                (Path(output_dir) / name).write_bytes(data)
        return None

    def require_one_step(self, step: int) -> None:
        """That all processes go on from the same checkpoint: machines that see different ones would train nonsense."""
        steps = [step] * self.args.world_size
        torch.distributed.all_gather_object(steps, step)
        if len(set(steps)) > 1:
            raise JobFailure(
                "error",
                f"the machines see different checkpoints: they would go on from steps {sorted(set(steps))}",
                "run it again",
            )

    def _restore_dtypes(self) -> None:
        for name, parameter in self.model.named_parameters():
            dtype = self.adapter_dtypes.get(name)
            if dtype is not None and parameter.dtype != dtype:
                parameter.data = parameter.data.to(dtype)

    def _mean_over_processes(self, value: torch.Tensor) -> float:
        return float(self.accelerator.gather(value.detach().reshape(1)).mean())


def diverged(step: int, loss: float) -> JobFailure:
    """The loss is no number any more; the checkpoints before it still are."""
    return JobFailure(
        "diverged",
        f"the loss became {loss} by step {step}",
        "lower `trainer.learning_rate`, or set `trainer.max_grad_norm: 1.0`",
    )


def _means(prefix: str, loss: float, right: float | None, tokens: float) -> dict[str, float]:
    """Metrics of sums over tokens; none without tokens."""
    if not tokens:
        return {}
    share = {} if right is None else {f"{prefix}_mean_token_accuracy": right / tokens}
    return {f"{prefix}_loss": loss / tokens, **share}
