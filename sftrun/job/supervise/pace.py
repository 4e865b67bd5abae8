"""How a run goes by what it has shown: what to keep back for a last checkpoint, and which silence is no longer its own.

The plan's estimate can be far off on a machine that nobody measured; the run's own steps and checkpoints are not.
"""

from dataclasses import dataclass

from sftrun.contract import events
from sftrun.contract.events import AnyEvent, StageName

# Without a sign of life; a download, a load and a save give none while they last.  Samples, steps and evaluation do.
SILENCE_SECONDS: dict[StageName, float] = {
    "start": 1800.0,
    "data": 7200.0,
    "model": 7200.0,
    "samples_before": 1800.0,
    "evaluate_before": 1800.0,
    "train": 600.0,
    "eval": 600.0,
    "samples_after": 1800.0,
    "save": 7200.0,
    "evaluate_after": 1800.0,
}
SLOWEST_STEPS = 20  # a step may take so much longer than the slowest one before it
# A checkpoint holds the trained weights and two moments at four bytes each; a slow disk takes so many bytes a second
CHECKPOINT_BYTES = 12
SLOW_DISK_BYTES = 2e7


@dataclass
class Pace:
    """The slowest step, checkpoint and evaluation so far, in seconds."""

    step: float = 0.0
    save: float = 0.0
    evaluation: float = 0.0
    trainable_parameters: int = 0
    _last_step: int = 0
    _heard_at: float = 0.0

    def hear(self, event: AnyEvent, now: float) -> None:
        """Learn from one event, `now` by the supervisor's clock."""
        match event:
            case events.ModelReady():
                self.trainable_parameters, self._last_step = event.trainable_parameters, event.first_step
            case events.Step():
                self.step, self._last_step = max(self.step, event.seconds_per_step), event.step
            case events.Checkpoint():
                self.save = max(self.save, event.seconds)
            case events.Evaluated():
                since = now - self._heard_at - (event.step - self._last_step) * self.step
                self.evaluation = max(self.evaluation, since)
        self._heard_at = now

    @property
    def reserve_seconds(self) -> float:
        """What a stop takes at most that is asked for at the worst moment: a step, an evaluation, a checkpoint."""
        return 2 * self.step + self.evaluation + 1.5 * self.save

    def silence_seconds(self, stage: StageName) -> float:
        """How long a worker may give no sign of life in a stage."""
        if stage not in ("train", "eval"):
            return SILENCE_SECONDS[stage]
        first_save = self.trainable_parameters * CHECKPOINT_BYTES / SLOW_DISK_BYTES
        return max(SILENCE_SECONDS[stage], SLOWEST_STEPS * self.step, first_save)
