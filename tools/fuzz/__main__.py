"""Harm what the program reads, again and again, and judge what it makes of it.

    python -m tools.fuzz ledgers --count 1000 --seed 1
    python -m tools.fuzz all --count 200          a part of each, as CI runs it
    python -m tools.fuzz data --only 4711         one case again, with what is printed

Each case has a seed of its own, `--seed` and its number, which is printed with what was found.  No case may exit 70,
print control characters, take more than 10 s of CPU or 1 GB, or be accepted by `validate` and refused by the job.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tools.fuzz import inputs, ledgers
from tools.fuzz.trying import forked, load_modules, quietly

Case = Callable[[Random], tuple[str, Callable[[], Sequence[str]]]]  # what was done, and how it is judged
SHOWN = 20


def of_ledgers(folder: Path) -> Case:
    (folder / "sound").mkdir()
    sound, work = ledgers.template(folder / "sound"), folder / "work"

    def case(chance: Random) -> tuple[str, Callable[[], Sequence[str]]]:
        run, how = ledgers.harm(sound, work, chance)
        return how, lambda: ledgers.judge(sound, work, run)

    return case


def of_inputs(made: Callable[[Path, Random], inputs.Made]) -> Callable[[Path], Case]:
    def begun(folder: Path) -> Case:
        return lambda chance: made(folder / "work", chance)

    return begun


KINDS: dict[str, Callable[[Path], Case]] = {
    "recipes": of_inputs(inputs.recipes),
    "data": of_inputs(inputs.data),
    "models": of_inputs(inputs.models),
    "ledgers": of_ledgers,
}


def campaign(kind: str, count: int, seed: int, only: int | None = None) -> int:
    """Cases that went wrong."""
    began, wrong, kinds = time.monotonic(), 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="sftrun-fuzz-") as folder:
        case = KINDS[kind](Path(folder))
        for number in [only] if only is not None else range(count):
            how, judge = case(Random(f"{kind} {seed} {number}"))
            tried = forked(judge)
            kinds[how.split(" of ")[0]] += 1
            if tried.wrong:
                wrong += 1
                if wrong <= SHOWN:
                    print(f"{kind} --seed {seed} --only {number} ({how})", *tried.wrong, sep="\n  ")
            elif only is not None:
                print(how)
    done = 1 if only is not None else count
    print(f"{kind}: {done:,} cases (seed {seed}), {wrong} wrong")
    quietly(f"  {time.monotonic() - began:.0f} s; {', '.join(f'{name} {n}' for name, n in kinds.most_common(6))}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=(*KINDS, "all"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    load_modules()
    kinds = tuple(KINDS) if asked.kind == "all" else (asked.kind,)
    return 1 if sum(campaign(kind, asked.count, asked.seed, asked.only) for kind in kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
