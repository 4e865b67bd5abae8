"""What a run logged, as columns that a page draws: by step, by seconds, by tokens, by USD.  Pure."""

from dataclasses import dataclass, field
from typing import Final

from sftrun.contract.events import AnyEvent, Evaluated, Started, Step
from sftrun.contract.jobspec import MoneySpec
from sftrun.run.state import RunState

MOST_POINTS: Final = 2000
ACROSS: Final = ("step", "seconds", "tokens", "usd")
STEPS: Final = (*ACROSS, "loss", "learning_rate", "tokens_per_second", "memory_gb", "grad_norm")
EVALS: Final = (*ACROSS, "loss")
Point = tuple[float | None, ...]


@dataclass
class Curves:
    """The steps and evaluations that stand; thinned by halves when there are more than a page can show."""

    steps: list[Point] = field(default_factory=list)
    evals: list[Point] = field(default_factory=list)
    stride: int = 1
    heard: int = 0

    def hear(self, event: AnyEvent, state: RunState, money: MoneySpec) -> None:
        """One event; `state` is after it.  An attempt takes back what came after the step that it goes on from."""
        if isinstance(event, Started):
            self._back_to(event.resumed_from or 0)
        elif isinstance(event, Step):
            self._step(event, state, money)
        elif isinstance(event, Evaluated):
            self.evals.append((*_across(event.step, event.at, state, money), event.loss))

    def columns(self) -> dict[str, dict[str, list[float | None]]]:
        """`steps` and `evals`, each a list for every name."""
        return {"steps": _columns(STEPS, self.steps), "evals": _columns(EVALS, self.evals)}

    def _step(self, event: Step, state: RunState, money: MoneySpec) -> None:
        self.heard += 1
        if self.heard % self.stride:
            return
        rates = (event.learning_rate, event.tokens_per_second or None, event.memory_gb or None, event.grad_norm)
        self.steps.append((*_across(event.step, event.at, state, money), event.loss, *rates))
        if len(self.steps) > MOST_POINTS:
            self.steps, self.stride = self.steps[::2], self.stride * 2

    def _back_to(self, step: int) -> None:
        self.steps = [point for point in self.steps if (point[0] or 0) <= step]
        self.evals = [point for point in self.evals if (point[0] or 0) <= step]


def _across(step: int, at: float, state: RunState, money: MoneySpec) -> Point:
    tokens = state.last.tokens if state.last is not None else 0
    return float(step), round(state.seconds_at(at), 1), float(tokens), float(round(state.spent_at(at, money), 6))


def _columns(names: tuple[str, ...], points: list[Point]) -> dict[str, list[float | None]]:
    return {name: [point[number] for point in points] for number, name in enumerate(names)}
