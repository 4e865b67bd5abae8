"""What a generator yields: one task in Alpaca form, and the kinds that make tasks.

A kind is a name and a function from a random source to a Task, so that a split of kinds is a split of a tuple."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random


@dataclass(frozen=True, slots=True)
class Task:
    """One row: `input` is empty where the instruction says everything; `kind` is the name of the kind that made it."""

    instruction: str
    output: str
    input: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of task, such as a Kubernetes Deployment; `make` draws its parameters from the random source."""

    name: str
    make: Callable[[Random], Task]


def text(*lines: str) -> str:
    """The lines joined: templates below stay readable beside what they make."""
    return "\n".join(lines)


def distinct_tasks(kinds: Sequence[Kind], seed: int) -> Iterator[Task]:
    """The kinds in turn, no question twice; a kind that has no more drops out, and the stream ends with the last."""
    rng = Random(seed)
    seen: set[tuple[str, str]] = set()
    left = list(kinds)
    while left:
        for kind in tuple(left):
            task = _unseen(kind, rng, seen)
            if task is None:
                left.remove(kind)
            else:
                yield task


def any_tasks(kinds: Sequence[Kind], seed: int) -> Iterator[Task]:
    """An endless stream over the kinds at random, repeats allowed: what pre-training reads."""
    rng = Random(seed)
    while True:
        yield rng.choice(kinds).make(rng)


def _unseen(kind: Kind, rng: Random, seen: set[tuple[str, str]]) -> Task | None:
    for _ in range(200):
        task = kind.make(rng)
        question = (task.instruction, task.input)
        if question not in seen:
            seen.add(question)
            return replace(task, kind=kind.name)
    return None
