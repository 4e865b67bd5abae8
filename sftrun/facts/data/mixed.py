"""Facts of several sources as those of one: what a mix of them comes to.  Pure."""

from collections import defaultdict
from collections.abc import Sequence

from sftrun.facts.data.percentiles import percentile
from sftrun.facts.values import DataFacts


def mixed(parts: Sequence[DataFacts], weights: Sequence[float]) -> DataFacts:
    """Rows of each source as often as its weight says; what is wrong with one stays with it."""
    first, pairs = parts[0], list(zip(parts, weights, strict=True))
    rows = sum(round(part.rows * weight) for part, weight in pairs)
    nothing = sum(round(part.rows_nothing_learnt * weight) for part, weight in pairs)
    found = DataFacts(
        source="declared" if any(part.source == "declared" for part in parts) else "counted",
        format=first.format,
        rows=rows,
        rows_nothing_learnt=nothing,
        rows_cut=sum(round(part.rows_cut * weight) for part, weight in pairs),
        max_length=first.max_length,
        columns=first.columns,
        bytes=sum(part.bytes for part in parts),
        eos_token=first.eos_token,
        ends=tuple(dict.fromkeys(end for part in parts for end in part.ends)),
        template_asks=all(part.template_asks for part in parts),
        lacking_tokens=first.lacking_tokens,
    )
    means = [part.mean_tokens for part in parts]
    if any(mean is None for mean in means):
        return found
    tokens = sum((mean or 0) * part.rows_learnt * weight for mean, (part, weight) in zip(means, pairs, strict=True))
    learnt = sum((part.learnt_tokens or 0) * weight for part, weight in pairs)
    figures = {"mean_tokens": tokens / max(rows - nothing, 1), "tokens": round(tokens), "learnt_tokens": round(learnt)}
    return found.model_copy(update=figures | _lengths(pairs))


def _lengths(pairs: Sequence[tuple[DataFacts, float]]) -> dict[str, object]:
    """Lengths before cutting; nothing where one source's are not known."""
    if not all(part.length_counts for part, _ in pairs):
        return {}
    sums: defaultdict[int, float] = defaultdict(float)
    for part, weight in pairs:
        for length, rows in part.length_counts:
            sums[length] += rows * weight
    counts = tuple((length, count) for length, rows in sorted(sums.items()) if (count := round(rows)))
    return {
        "length_counts": counts,
        "percentiles": {str(share): percentile(counts, share) for share in (50, 90, 99, 100)},
        "length_for_99_percent": percentile(counts, 99),
    }
