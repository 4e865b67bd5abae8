"""How often the intervals of `sftrun evaluate` hold the truth, by simulation: 95 of 100 times is what they claim.

    python benchmarks/coverage.py [--rounds 2000]

Prints the table of docs/evaluation.md.  A round draws rows of two models whose true difference is known, and looks
whether the interval holds it.  `wrong` is how often a difference is called where there is none (5 % at most).
"""

import argparse
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain

from sftrun.evaluate.intervals import paired_means, paired_shares, wilson
from sftrun.evaluate.significance import LEVEL, mcnemar_mid

ROWS = (30, 80, 300, 1000)
DIFFERENCES: dict[str, tuple[float, Callable[[random.Random], float]]] = {
    "even (of a uniform score)": (0.0, lambda source: source.random() - source.random()),
    "most rows equal (85 %)": (0.0, lambda source: source.uniform(-1, 1) if source.random() < 0.15 else 0.0),
    "few rows gain (15 %)": (0.075, lambda source: source.random() if source.random() < 0.15 else 0.0),
    "skewed (few rows gain much)": (0.2, lambda source: min(source.expovariate(1 / 0.2), 50.0)),
}


@lru_cache(None)
def tango(gained: int, lost: int, rows: int) -> tuple[float, float]:
    return paired_shares(gained, lost, rows)


def changes(source: random.Random, rows: int, gain: float, loss: float) -> tuple[int, int]:
    drawn = [source.random() for _ in range(rows)]
    return sum(value < gain for value in drawn), sum(gain <= value < gain + loss for value in drawn)


def shares(rounds: int) -> Iterator[tuple[str, int, float, float | None]]:
    source = random.Random(1)
    for gain, loss in ((0.1, 0.1), (0.25, 0.25), (0.3, 0.1), (0.1, 0.02)):
        for rows in ROWS:
            drawn = [changes(source, rows, gain, loss) for _ in range(rounds)]
            held = [low <= gain - loss <= high for low, high in (tango(*one, rows) for one in drawn)]
            wrong = [
                mcnemar_mid(*one) < LEVEL and not tango(*one, rows)[0] <= 0 <= tango(*one, rows)[1] for one in drawn
            ]
            words = f"right or wrong: {gain:.0%} gained, {loss:.0%} lost"
            yield words, rows, sum(held) / rounds, sum(wrong) / rounds if gain == loss else None


def means(rounds: int) -> Iterator[tuple[str, int, float, float | None]]:
    source = random.Random(2)
    for words, (truth, draw) in DIFFERENCES.items():
        for rows in ROWS[:-1]:
            found = [paired_means([draw(source) for _ in range(rows)], seed=number) for number in range(rounds)]
            held = [mean.interval.low <= truth <= mean.interval.high for mean in found]
            wrong = [mean.p < LEVEL and not mean.interval.holds_zero for mean in found]
            yield f"score: {words}", rows, sum(held) / rounds, None if truth else sum(wrong) / rounds


def one_share(rounds: int) -> Iterator[tuple[str, int, float, float | None]]:
    source = random.Random(3)
    for truth in (0.1, 0.5, 0.9):
        for rows in ROWS:
            drawn = [wilson(sum(source.random() < truth for _ in range(rows)), rows) for _ in range(rounds)]
            yield f"one model's share of {truth:.0%}", rows, sum(i.low <= truth <= i.high for i in drawn) / rounds, None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    print("| what | rows | held | wrong |\n| --- | --- | --- | --- |")
    for words, rows, held, wrong in chain(one_share(rounds), shares(rounds), means(rounds)):
        print(f"| {words} | {rows:,} | {held:.1%} | {'' if wrong is None else f'{wrong:.1%}'} |", flush=True)


if __name__ == "__main__":
    main()
