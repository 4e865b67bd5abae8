"""What the length of an epoch, and of the run, says against evaluations, checkpoints and patience."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic
from sftrun.facts.values import Facts
from sftrun.plan.estimate import workload
from sftrun.plan.estimate.known_rows import train_rows
from sftrun.plan.types import Plan
from sftrun.recipe.models import Recipe


def unknown(recipe: Recipe, facts: Facts) -> Iterator[Diagnostic]:
    """Times an epoch, of rows that nobody has counted."""
    train, trainer = train_rows(recipe, facts), recipe.trainer
    if workload.epoch_steps(trainer, train, 1) is not None:
        return
    missing = "`mean_tokens`" if train is not None else "`num_examples`"
    if train is None and trainer.packing:
        missing += " and `mean_tokens`"
    for by_epoch, by_steps in (("evals_per_epoch", "eval_steps"), ("saves_per_epoch", "save_steps")):
        if getattr(trainer, by_epoch) is not None:
            yield Diagnostic(
                "R244",
                f"`{by_epoch}`: the rows can't be counted from here, so that the steps of an epoch aren't known",
                at=("trainer", by_epoch),
                on_key=True,
                help=f"give {missing} of `dataset.train`, or write `{by_steps}`",
            )


def out_of_reach(plan: Plan) -> Iterator[Diagnostic]:
    """A patience that the run is too short for."""
    patience, each, steps = plan.trainer.early_stopping_patience, plan.trainer.eval_steps, plan.total_steps
    if patience is None or each is None or steps is None or each * (patience + 1) < steps:
        return
    count = steps // each
    message = f"the run has {steps:,} steps and {count:,} evaluations: a patience of {patience} never ends it early"
    more = max(steps // (3 * (patience + 1)), 1)
    help = f"write `early_stopping_patience: {count // 2}`" if count > 3 else f"write `eval_steps: {more}`"
    at = ("trainer", "early_stopping_patience")
    yield Diagnostic("R245", message, at=at, severity="warning", help=help)
