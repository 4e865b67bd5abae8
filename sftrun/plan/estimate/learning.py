"""What finished runs teach the next estimate.  Pure: observations in, a factor and its count out.

A run of this very recipe says how fast a step is; runs of its like (engine and stack, GPU, layout, model size within a
factor of two) say by how much the model errs for them.
"""

from statistics import median
from typing import Final, Literal, NamedTuple

ALIKE_SIZE: Final = 2.0
# one run alone is believed this much; more runs are believed more
PRIOR_RUNS: Final = 1.0


class Features(NamedTuple):
    """What makes two runs alike.  `identities`: all that one may be known by, over releases."""

    identities: frozenset[str]
    parameters: int
    stack: str
    gpu: str
    gpu_count: int
    layout: str
    checkpointing: bool
    bits: int
    batch: int


class Observation(NamedTuple):
    """A finished run: seconds a step as the time model (uncorrected) had it, and as they were."""

    features: Features
    predicted_seconds: float
    measured_seconds: float


class Correction(NamedTuple):
    """What to multiply the time model's step by, and what it rests on."""

    factor: float = 1.0
    runs: int = 0
    kind: Literal["none", "like", "same"] = "none"

    @property
    def words(self) -> str:
        plural = "run" if self.runs == 1 else "runs"
        if self.kind == "same":
            return f"measured on this very recipe, {self.runs} {plural}"
        return f"corrected by {self.runs} {plural} of its like" if self.kind == "like" else ""


def learn(observations: tuple[Observation, ...], features: Features) -> Correction:
    """The median error of the same recipe's runs, else of its like, drawn towards 1 where runs are few."""
    usable = [o for o in observations if o.predicted_seconds > 0 and o.measured_seconds > 0]
    same = [o for o in usable if _is_same(o.features, features)]
    if same:
        return Correction(median(o.measured_seconds / o.predicted_seconds for o in same), len(same), "same")
    like = [o.measured_seconds / o.predicted_seconds for o in usable if alike(o.features, features)]
    if not like:
        return Correction()
    belief = len(like) / (len(like) + PRIOR_RUNS)
    return Correction(float(median(like) ** belief), len(like), "like")


def alike(one: Features, other: Features) -> bool:
    """Same code, GPU and layout; models of about the same size."""
    exact = ("stack", "gpu", "gpu_count", "layout", "checkpointing", "bits")
    ratio = max(one.parameters, other.parameters) / max(min(one.parameters, other.parameters), 1)
    return ratio <= ALIKE_SIZE and all(getattr(one, name) == getattr(other, name) for name in exact)


def _is_same(one: Features, other: Features) -> bool:
    exact = ("gpu", "gpu_count", "batch")
    is_known = not one.identities.isdisjoint(other.identities)
    return is_known and all(getattr(one, name) == getattr(other, name) for name in exact)
