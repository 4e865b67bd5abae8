"""What the trainer says while it trains, as events; and the stop that was asked for, obeyed at the next step."""

import math
import resource
import sys
import time
from typing import Any

import torch
from transformers import TrainerCallback

from sftrun.contract import events, stopping
from sftrun.contract.events import StopReason
from sftrun.job.train.trainer import ACCURACY, JobTrainer, diverged

LOG_KEPT = 100  # entries of the trainer's own log, which would grow with the run, in memory and in each checkpoint


class Watcher(TrainerCallback):
    """`stop_reason` is set once a stop was obeyed.  Rates leave out evaluation and saving."""

    def __init__(self, eval_rows: int) -> None:
        self.eval_rows = eval_rows
        self.resumed_from: str | None = None
        self.stop_reason: StopReason | None = None
        self.is_training = False
        self.trainer: JobTrainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.resumed_from is not None:
            self.trainer.restore_log(self.resumed_from)
        self._begin_window(state.global_step, self.trainer.tokens())
        self.is_training = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.is_training = False

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.channel.beat()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.channel.beat()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.channel.beat()
        reason = self._asked_to_stop()
        if reason is not None and state.global_step < state.max_steps:
            self.stop_reason = reason
            control.should_save = control.should_training_stop = True
        if self.trainer.best.metric is not None and state.global_step >= state.max_steps:
            control.should_evaluate = True  # the last step may be the best

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        del state.log_history[:-LOG_KEPT]
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise diverged(state.global_step, logs["loss"])
        steps, seconds = state.global_step - self._step, self._seconds()
        tokens = self.trainer.tokens()
        self.trainer.channel.say(
            events.Step(
                step=state.global_step,
                total_steps=state.max_steps,
                epoch=state.epoch,
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                grad_norm=_finite(logs.get("grad_norm")),
                tokens=tokens,
                tokens_per_second=round((tokens - self._tokens) / seconds, 1),
                seconds_per_step=round(seconds / max(1, steps), 4),
                memory_gb=peak_memory_gb(),
                data_wait_share=round(min(1.0, (self.trainer.seconds_waiting - self._waiting) / seconds), 4),
            )
        )
        self._begin_window(state.global_step, tokens)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        if "eval_loss" not in metrics:
            return  # of one set of several; the trainer then tells of all
        loss, best = metrics["eval_loss"], self.trainer.best
        if not math.isfinite(loss):
            raise diverged(state.global_step, loss)
        best_step = best.hear(state.global_step, metrics, state) if self.is_training else None
        self.trainer.channel.say(
            events.Evaluated(
                step=state.global_step,
                loss=loss,
                rows=self.eval_rows,
                losses={name: metrics[f"eval_{name}_loss"] for name in self.trainer.eval_names},
                seconds=round(metrics.get("eval_runtime", 0.0), 3),
                accuracy=metrics.get(ACCURACY),
                best_step=best_step,
            )
        )
        if best_step == state.global_step and args.load_best_model_at_end:
            control.should_save = True  # transformers loads the best of those that were saved
        if self.is_training and (early := best.end(state)) is not None:
            self.trainer.channel.say(early)
            control.should_save = control.should_training_stop = True

    def _asked_to_stop(self) -> StopReason | None:
        """The first process decides for all, so that none waits for another at the next step."""
        if self.trainer.args.world_size == 1:
            return stopping.requested(self.trainer.spec.record_dir)
        asked = [stopping.requested(self.trainer.spec.record_dir) if self.trainer.is_world_process_zero() else None]
        torch.distributed.broadcast_object_list(asked, src=0)
        return asked[0]

    def _begin_window(self, step: int, tokens: int) -> None:
        self._step, self._tokens = step, tokens
        self._began, self._paused = time.perf_counter(), self.trainer.seconds_paused
        self._waiting = self.trainer.seconds_waiting

    def _seconds(self) -> float:
        return max(1e-9, time.perf_counter() - self._began - (self.trainer.seconds_paused - self._paused))


def peak_memory_gb() -> float:
    """The most that was in use: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)


def forget_peak_memory() -> None:
    """From here on the peak is of training: loading holds weights that are quantised a moment later."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
