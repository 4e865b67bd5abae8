"""The rows of a recipe as they were counted, or else as it declares them."""

from collections.abc import Mapping
from typing import Literal

from sftrun.diagnostics import Path, dotted
from sftrun.facts.data.mixed import mixed
from sftrun.facts.values import DataFacts, Facts
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source


def train_rows(recipe: Recipe, facts: Facts) -> DataFacts | None:
    """All training rows, each as often as an epoch takes it; None where one source says nothing."""
    return _together(recipe.dataset.train_sources, facts)


def eval_rows(recipe: Recipe, facts: Facts) -> DataFacts | None:
    """All validation rows of `dataset.eval`."""
    return _together(recipe.dataset.eval_sources, facts)


def source_rows(counted: DataFacts | None, source: Source) -> DataFacts | None:
    """Of one source."""
    if counted is not None and (counted.length_counts or counted.mean_tokens or counted.tokens):
        return counted
    most = source.max_examples or source.num_examples
    declared = None if source.num_examples is None or most is None else min(source.num_examples, most)
    rows = counted.rows if counted is not None else declared
    if rows is None:
        return None
    is_counted = counted is not None and source.mean_tokens is None
    kind: Literal["counted", "declared"] = "counted" if is_counted else "declared"
    return DataFacts(source=kind, format=None, rows=rows, mean_tokens=source.mean_tokens)


def _together(sources: Mapping[Path, Source], facts: Facts) -> DataFacts | None:
    found = [source_rows(facts.of(dotted(at)).rows, source) for at, source in sources.items()]
    known = [one for one in found if one is not None]
    if len(known) < len(found) or not known:
        return None
    weights = [source.weight if at[1] == "train" else 1.0 for at, source in sources.items()]
    return known[0] if len(known) == 1 and weights == [1.0] else mixed(known, weights)
