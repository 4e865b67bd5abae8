"""What belongs together in `trainer` about evaluations, checkpoints and the best of them."""

from collections.abc import Iterator

from sftrun.contract.choices import METRICS
from sftrun.diagnostics import Diagnostic
from sftrun.recipe.models import Recipe, Trainer
from sftrun.recipe.words.names import nearest


def said_twice(recipe: Recipe) -> Iterator[Diagnostic]:
    """By steps and by epoch."""
    trainer = recipe.trainer
    for by_epoch, by_steps in (("evals_per_epoch", "eval_steps"), ("saves_per_epoch", "save_steps")):
        is_written = by_steps in trainer.model_fields_set and getattr(trainer, by_steps) is not None
        if getattr(trainer, by_epoch) is not None and is_written:
            yield Diagnostic(
                "R240",
                f"`{by_epoch}` and `{by_steps}` say the same thing twice",
                at=("trainer", by_epoch),
                also=((("trainer", by_steps), "steps here"),),
                help=f"keep one of the two; `{by_epoch}: null` takes an inherited one out",
            )


def best_model(recipe: Recipe) -> Iterator[Diagnostic]:
    """The best checkpoint has to be one that was evaluated."""
    trainer = recipe.trainer
    if not trainer.load_best_model_at_end:
        return
    if not _evaluates(trainer):
        yield Diagnostic(
            "R205",
            "the best checkpoint can't be told without evaluations on the way",
            at=("trainer", "load_best_model_at_end"),
            help=f"write `eval_steps: {trainer.save_steps}`, or `evals_per_epoch: 4` and `saves_per_epoch: 4`",
        )
    elif trainer.saves_per_epoch is not None:
        yield from _per_epoch(trainer, trainer.saves_per_epoch)
    elif trainer.eval_steps is None:
        yield Diagnostic(
            "R205",
            "the best checkpoint must be evaluated, and `save_steps` don't fall on the steps of `evals_per_epoch`",
            at=("trainer", "evals_per_epoch"),
            help=f"write `saves_per_epoch: {trainer.evals_per_epoch}` instead of `save_steps`",
        )
    elif trainer.save_steps % trainer.eval_steps:
        multiple = max(1, round(trainer.save_steps / trainer.eval_steps)) * trainer.eval_steps
        yield Diagnostic(
            "R205",
            f"`save_steps: {trainer.save_steps}` is no multiple of `eval_steps: {trainer.eval_steps}`",
            at=("trainer", "save_steps"),
            also=((("trainer", "eval_steps"), f"{trainer.eval_steps} here"),),
            help=f"write `save_steps: {multiple}`",
        )


def _per_epoch(trainer: Trainer, saves: int) -> Iterator[Diagnostic]:
    evals = trainer.evals_per_epoch
    if evals is None or evals % saves == 0:
        return
    fits = max(n for n in range(1, evals + 1) if evals % n == 0 and n <= saves)
    yield Diagnostic(
        "R205",
        f"`evals_per_epoch: {evals}` is no multiple of `saves_per_epoch: {saves}`",
        at=("trainer", "saves_per_epoch"),
        also=((("trainer", "evals_per_epoch"), f"{evals} here"),),
        help=f"write `saves_per_epoch: {fits}`",
    )


def stopping(recipe: Recipe) -> Iterator[Diagnostic]:
    """Early stopping judges evaluations on the way."""
    trainer = recipe.trainer
    if trainer.early_stopping_patience is not None and not _evaluates(trainer):
        yield Diagnostic(
            "R241",
            "`early_stopping_patience` counts evaluations, and there are none on the way",
            at=("trainer", "early_stopping_patience"),
            on_key=True,
            help="write `evals_per_epoch: 4`, or `eval_steps`",
        )


def metric(recipe: Recipe) -> Iterator[Diagnostic]:
    """One that evaluations tell, and that something asks for."""
    trainer = recipe.trainer
    wanted, at = trainer.metric_for_best_model, ("trainer", "metric_for_best_model")
    if wanted is None:
        return
    known = (*METRICS, *(f"eval_{at[2]}_loss" for at in recipe.dataset.eval_sources if len(at) > 2))
    if wanted not in known:
        help = f"write `{nearest(wanted, known, 0.4) or 'eval_loss'}`"
        yield Diagnostic("R242", f"no evaluation tells `{wanted}`", at=at, help=help)
    elif not wanted.endswith("_loss") and not trainer.library.runs_our_step:
        message = f"evaluations of the engine {trainer.engine} tell the loss alone"
        yield Diagnostic("R242", message, at=at, help="write `eval_loss`, or `engine: trl`")
    elif not trainer.load_best_model_at_end and trainer.early_stopping_patience is None:
        yield Diagnostic(
            "R243",
            "`metric_for_best_model` chooses nothing",
            at=at,
            on_key=True,
            help="add `load_best_model_at_end: true` or `early_stopping_patience: 3`, or take it out",
        )


def _evaluates(trainer: Trainer) -> bool:
    return trainer.eval_steps is not None or trainer.evals_per_epoch is not None


BEST = (said_twice, best_model, stopping, metric)
