"""What the weights of several sources say, held against their rows.  Pure."""

from collections.abc import Iterator
from math import isclose

from sftrun.diagnostics import Diagnostic, dotted
from sftrun.facts.values import Facts
from sftrun.plan.estimate.known_rows import source_rows
from sftrun.recipe.models import Recipe


def check_mix(recipe: Recipe, facts: Facts) -> Iterator[Diagnostic]:
    """Weights that look like shares, as other tools have them."""
    sources = recipe.dataset.train_sources
    weights = [source.weight for source in sources.values()]
    if len(sources) < 2 or max(weights) >= 1 or not isclose(sum(weights), 1, abs_tol=1e-3):
        return
    found = [source_rows(facts.of(dotted(at)).rows, source) for at, source in sources.items()]
    rows = [0 if one is None else one.rows for one in found]
    listed = ", ".join(f"{100 * weight:g} %" for weight in weights)
    message = f"`weight` is how often rows are taken, not a share: an epoch takes {listed} of the rows"
    help = "write weights of at least 1 to take all rows"
    if all(rows):
        each = [weight / count for weight, count in zip(weights, rows, strict=True)]
        times = ", ".join(f"`weight: {one / min(each):.3g}`" for one in each)
        help = f"for shares of {listed} and all rows write {times}"
    at = (*next(iter(sources)), "weight")
    yield Diagnostic("R261", message, at=at, severity="warning", help=help)
