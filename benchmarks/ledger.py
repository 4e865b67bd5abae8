"""What the ledger costs: listing many runs, and folding a long one.

python benchmarks/ledger.py [--runs 10000] [--events 10000]
"""

import argparse
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from sftrun.contract import events
from sftrun.run.listing import find, rows
from sftrun.run.state import fold
from sftrun.run.tail import Tail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        listing(Path(folder), asked.runs)
        folding(Path(folder) / "events.jsonl", asked.events)


def listing(root: Path, count: int) -> None:
    """Time of the first listing (no index), and of the next."""
    step = events.Step(seq=1, step=90, total_steps=90, epoch=1, loss=0.25, learning_rate=1e-3)
    end = events.Finished(seq=2, step=90, train_loss=0.5, output_dir="/o")
    text = events.dump(step) + "\n" + events.dump(end) + "\n"
    for number in range(count):
        run = root / "runs" / f"{number:010x}"
        run.mkdir(parents=True)
        manifest = {
            "id": run.name,
            "name": f"recipe-{number % 50}",
            "created": number,
            "executor": "local",
            "model": "m",
        }
        (run / "run.json").write_text(json.dumps(manifest))
        (run / "events.jsonl").write_text(text)
    print(f"{count:,} runs, no index yet   {timed(lambda: rows(root)):6.3f} s")
    print(f"{count:,} runs, with the index {min(timed(lambda: rows(root)) for _ in range(5)):6.3f} s   bar 0.5 s")
    print(f"finding one by its name     {min(timed(lambda: find(root, 'recipe-7')) for _ in range(5)):6.3f} s")


def folding(path: Path, count: int) -> None:
    """Time and memory of reading and folding a run's events."""
    path.write_text("".join(events.dump(event) + "\n" for event in steps(count)))
    seconds = timed(lambda: fold(Tail(path).read()))
    tracemalloc.start()
    fold(Tail(path).read())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = path.stat().st_size
    print(f"{count:,} events ({size / 1e6:.1f} MB) folded in {seconds:.3f} s, {peak / 1e6:.1f} MB at most")


def steps(count: int) -> Iterator[events.Step]:
    for n in range(count):
        yield events.Step(
            seq=n + 1, at=float(n), step=n, total_steps=count, epoch=0, loss=1 / (n + 1), learning_rate=1e-3
        )


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
