"""What the facts say against a recipe's `evaluation`: its rows as training rows are judged, its groups, its gate."""

from collections.abc import Iterator

from sftrun.diagnostics import Diagnostic, Path
from sftrun.evaluate.metrics import METRICS
from sftrun.evaluate.power import POWER, smallest_share
from sftrun.facts.values import DataFacts, Facts
from sftrun.plan.check.data_facts import check_data
from sftrun.recipe.evaluation_section import Evaluation, EvaluationData
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source

# of rows that are asked and not learnt: a cut, a border, an unread column and a second copy change no answer
_OF_TRAINING = {"D105", "D107", "D108", "D111", "D115", "D116", "D119"}

_OFTEN = f"{round(5 * POWER)} times of 5"


def check_evaluation(recipe: Recipe, facts: Facts) -> Iterator[Diagnostic]:
    """Everything that is wrong with what will be asked."""
    tested, found = recipe.evaluation, facts.evaluation
    if tested is None:
        return
    yield from _rows(recipe, tested.data, "data", found.rows, facts.train)
    if tested.general is not None:
        yield from _rows(recipe, tested.general, "general", found.general, facts.train)
    if found.rows is not None:
        yield from _groups(tested, found.rows)
        yield from _gate(tested, found.rows)


def _rows(
    recipe: Recipe, source: EvaluationData, name: str, found: DataFacts | None, train: DataFacts | None
) -> Iterator[Diagnostic]:
    if found is None:
        return
    at: Path = ("evaluation", name)
    told = recipe.dataset.model_copy(update={"train": Source(path=source.path, hub=source.hub), "eval": None})
    for one in check_data(recipe.model_copy(update={"dataset": told}), found, None):
        if one.code not in _OF_TRAINING and one.code != "D109":
            also = tuple((_moved(path, at), words) for path, words in one.also)
            yield one._replace(at=_moved(one.at, at), also=also)
    if train is not None and None not in (train.format, found.format) and train.format != found.format:
        message = f"the test rows are {found.format}, the training rows {train.format}"
        yield Diagnostic("D118", message, at=(*at, "path"), help=f"bring them into the form {train.format}")
    if found.rows_in_train:
        message = (
            f"the training data hold {found.rows_in_train:,} of the {found.rows:,} rows: they were learnt by heart"
        )
        help = "take them out of one of the two"
        yield Diagnostic("D109", message, at=(*at, "path"), severity="warning", help=help)


def _moved(path: Path, at: Path) -> Path:
    return (*at, *path[2:]) if path[:2] == ("dataset", "train") else path


def _groups(tested: Evaluation, found: DataFacts) -> Iterator[Diagnostic]:
    if tested.by is not None and found.columns and tested.by not in found.columns:
        message = f"no column `{tested.by}` in `{tested.data.path}`"
        help = f"name one of {', '.join(found.columns)}, or take `by` out"
        yield Diagnostic("E103", message, at=("evaluation", "by"), help=help)


def _gate(tested: Evaluation, found: DataFacts) -> Iterator[Diagnostic]:
    """A gain that so few rows can't show will close the gate whatever was learnt."""
    rows = min(found.rows, tested.max_examples or found.rows)
    gate, smallest = tested.gate, smallest_share(rows)
    if gate is None or METRICS[gate.metric].kind != "yes_no" or not 0 <= gate.min_gain < (smallest or 1.0):
        return
    shows = "can show no gain" if smallest is None else f"show a gain of {100 * smallest:.0f} points {_OFTEN}"
    message = f"{rows:,} rows {shows}; the gate asks for {100 * gate.min_gain:g} points"
    help = "give more test rows, or know that a smaller gain will close the gate"
    yield Diagnostic("E104", message, at=("evaluation", "gate"), severity="warning", help=help)
