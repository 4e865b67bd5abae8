"""What a mix of several sources comes to, in words: nothing is chosen here."""

from pathlib import PurePath

from sftrun.diagnostics import dotted
from sftrun.facts.values import DataFacts, Facts
from sftrun.plan.decide.decisions import Decisions
from sftrun.plan.estimate.known_rows import source_rows
from sftrun.recipe.models import Recipe
from sftrun.recipe.sources import Source


def say(recipe: Recipe, facts: Facts, said: Decisions) -> None:
    """The share of each source in an epoch's rows, and how many they are."""
    sources = recipe.dataset.train_sources
    found = [source_rows(facts.of(dotted(at)).rows, source) for at, source in sources.items()]
    known = [one for one in found if one is not None]
    if len(sources) < 2 or len(known) < len(found):
        return
    rows = [taken(one, source) for one, source in zip(known, sources.values(), strict=True)]
    pairs = zip(rows, sources.values(), strict=True)
    shares = [f"{name(source)} {100 * count / max(sum(rows), 1):.1f} %" for count, source in pairs]
    parts = (_part(one, source) for one, source in zip(known, sources.values(), strict=True))
    said.say("dataset.train", ", ".join(shares), f"an epoch takes {sum(rows):,} rows: {', '.join(parts)}")


def taken(found: DataFacts, source: Source) -> int:
    """Rows of a source that an epoch takes."""
    return round(found.rows_learnt * source.weight)


def name(source: Source) -> str:
    """A Hub id, or a file without its folder."""
    return source.hub or PurePath(source.path or "").name


def _part(found: DataFacts, source: Source) -> str:
    times = "" if source.weight == 1 else f" {source.weight:g} times"
    return f"{found.rows_learnt:,} of {name(source)}{times}"
