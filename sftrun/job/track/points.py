"""Events -> what a tracker is told: figures at a step, each once whatever attempts have said twice."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

from sftrun.contract import events
from sftrun.contract.events import AnyEvent
from sftrun.contract.jobspec import JobSpec
from sftrun.job.supervise import record

# sections of a job that are settings; where it runs and what it is told to say are none
_SECTIONS = {
    "name",
    "model",
    "quantization",
    "lora",
    "adapter",
    "dataset",
    "rows",
    "trainer",
    "step",
    "gpu_count",
    "nodes",
}
_PLACES = ("files", "folder", "cache_dir", "report_to")  # of this machine, and what a tracker knows itself


class Point(NamedTuple):
    """Figures of one optimiser step, said at a time in seconds since 1970."""

    step: int
    at: float
    values: dict[str, float]


class Points:
    """The fold.  `done`: the last step of each kind that a tracker has already; `begin` hears of what it has."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec, self.past = spec, record.Past()
        self.done: dict[str, int] = {"step": -1, "eval": -1}

    def of(self, event: AnyEvent) -> Iterator[Point]:
        """At most one point: a step that was taken again after a resume is no news."""
        record.fold(self.past, event)
        match event:
            case events.Step():
                values = {f"train/{name}": getattr(event, name) for name in TRAIN}
            case events.Evaluated():
                values = {f"eval/{name}": getattr(event, name) for name in EVAL}
            case _:
                return
        if event.step <= self.done[event.kind]:
            return
        self.done[event.kind] = event.step
        values["spent_usd"] = float(record.spent_until(self.past, self.spec.money, event.at))
        yield Point(event.step, event.at, {name: float(value) for name, value in values.items() if value is not None})


TRAIN = ("loss", "learning_rate", "grad_norm", "epoch", "tokens", "tokens_per_second", "seconds_per_step", "memory_gb")
EVAL = ("loss", "accuracy", "seconds")


def settings(spec: JobSpec) -> dict[str, Any]:
    """The job's settings under dotted names; texts and numbers alone, and no rows, prompts or answers."""
    return dict(_flat(spec.model_dump(mode="json", include=_SECTIONS), ""))


def _flat(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in ((name, part) for name, part in value.items() if name not in _PLACES):
            yield from _flat(part, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for number, part in enumerate(value):  # sources that are mixed
            yield from _flat(part, f"{at}.{number}")
    elif isinstance(value, list):
        yield at, ", ".join(str(part) for _, part in (pair for one in value for pair in _flat(one, at)))
    elif value is not None:
        yield at, PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value
