"""How often a run evaluates and saves, in steps: as written, or so many times an epoch."""

import math
from typing import NamedTuple

from sftrun.plan.decide.decisions import Decisions
from sftrun.recipe.models import Trainer


class Intervals(NamedTuple):
    """Steps between two evaluations (None: one at the end) and between two checkpoints."""

    eval_steps: int | None
    save_steps: int


def intervals(trainer: Trainer, epoch: int | None, said: Decisions) -> Intervals:
    """`epoch`: steps of one pass over the data, None where that isn't known, which `check.epochs` refuses."""
    evals, saves = trainer.evals_per_epoch, trainer.saves_per_epoch
    found = Intervals(trainer.eval_steps, trainer.save_steps)
    if epoch is None:
        return found
    if evals is not None:
        found = found._replace(eval_steps=_share(epoch, evals))
        said.say("trainer.eval_steps", found.eval_steps, _reason("evaluations", evals, epoch))
    if saves is not None:
        steps, also = _between_saves(trainer, epoch, saves, found.eval_steps)
        found = found._replace(save_steps=steps)
        said.say("trainer.save_steps", steps, _reason("checkpoints", saves, epoch) + also)
    return found


def _between_saves(trainer: Trainer, epoch: int, saves: int, eval_steps: int | None) -> tuple[int, str]:
    """The best checkpoint has to be one that was evaluated."""
    steps, evals = _share(epoch, saves), trainer.evals_per_epoch
    if eval_steps is None or not trainer.load_best_model_at_end:
        return steps, ""
    times = evals // saves if evals is not None and evals % saves == 0 else max(round(steps / eval_steps), 1)
    return times * eval_steps, f", each of a step that is evaluated: {times} × {eval_steps}"


def _share(epoch: int, times: int) -> int:
    """The last one falls together with the end of the epoch, or would come after it."""
    return max(math.ceil(epoch / times), 1)


def _reason(what: str, times: int, epoch: int) -> str:
    if times > epoch:
        return f"an epoch has {epoch:,} steps, fewer than {times} {what}: one a step"
    return f"{times} {what if times > 1 else what.removesuffix('s')} an epoch of {epoch:,} steps"
