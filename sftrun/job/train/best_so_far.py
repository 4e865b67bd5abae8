"""Which evaluation was the best, and how many since were no better: early stopping, as transformers counts it.

transformers keeps the best step and its metric in each checkpoint.  What it does not keep is how long the run has
waited for a better one, and that it has stopped: a run that was killed then would train on.
"""

from collections.abc import Mapping
from typing import Any

from sftrun.contract.choices import METRICS
from sftrun.contract.events import StoppedEarly
from sftrun.contract.jobspec import TrainerSpec


class Best:
    """`waited`: evaluations since the best one.  `evaluated_step`: the last one's; `is_over`: it has stopped early."""

    def __init__(self, trainer: TrainerSpec) -> None:
        self.metric, self.patience = trainer.metric_for_best_model, trainer.early_stopping_patience
        self.waited = 0
        self.evaluated_step: int | None = None
        self.is_over = False

    def hear(self, step: int, metrics: Mapping[str, float], state: Any) -> int | None:
        """Count an evaluation on the way; returns the step of the best one.  `state` is transformers', before it.

        What the base model had, before the first step, is no result of training, and transformers counts it neither.
        """
        self.evaluated_step = step
        if self.metric is None or step == 0:
            return None
        value, best = metrics[self.metric], state.best_metric
        if best is None or (value > best if METRICS.get(self.metric, False) else value < best):
            self.waited = 0
            return step
        self.waited += 1
        return int(state.best_global_step)

    def end(self, state: Any) -> StoppedEarly | None:
        """What is to be said where patience is at its end, and steps are left."""
        if self.patience is None or self.metric is None or self.waited < self.patience:
            return None
        if state.global_step >= state.max_steps:
            return None
        self.is_over = True
        return StoppedEarly(
            step=state.global_step,
            patience=self.patience,
            metric=self.metric,
            best=state.best_metric,
            best_step=state.best_global_step,
        )

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"waited": self.waited, "evaluated_step": self.evaluated_step, "stopped_early": self.is_over}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on as a checkpoint had it; an older release's kept nothing."""
        self.waited, self.is_over = int(kept.get("waited", 0)), kept.get("stopped_early") is True
        evaluated = kept.get("evaluated_step")
        self.evaluated_step = None if evaluated is None else int(evaluated)
