"""What the runner costs: the quickstart as a bare SFTTrainer script beside the same recipe through `sftrun apply`.

    python benchmarks/overhead.py [--pairs 3]

Pairs of whole trainings in turn, so that a drifting machine shifts both.  Compared are the seconds of training alone
(both without imports, samples and evaluation); the CPU seconds of the command line that watches stand beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def bare_seconds() -> float:
    """Training seconds of the bare script."""
    command = [sys.executable, "benchmarks/bare_quickstart.py", "--compact"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"]["train"])


def ours() -> tuple[float, float]:
    """(training seconds, CPU seconds of command line and supervisor) of the recipe."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "sftrun.cli.main", "apply", "recipes/quickstart.yaml", "--format", "json"]
        before = os.times()
        done = subprocess.run(
            command, cwd=ROOT, env={**environment(), "SFTRUN_HOME": home}, capture_output=True, text=True, check=True
        )
        after = os.times()
    events = [json.loads(line) for line in done.stdout.splitlines()]
    stages = [(event["name"], event["at"]) for event in events if event["kind"] == "stage"]
    began = next(at for name, at in stages if name == "train")
    last_step = max(event["at"] for event in events if event["kind"] == "step")
    cli = after.children_user + after.children_system - before.children_user - before.children_system
    return last_step - began, cli


def environment() -> dict[str, str]:
    return {**os.environ, "GOMP_SPINCOUNT": "20000"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    pairs = parser.parse_args().pairs
    rows = []
    for _ in range(pairs):
        bare = bare_seconds()
        trained, cli = ours()
        rows.append((bare, trained, trained / bare, cli))
        print(f"bare {bare:.1f} s   sftrun {trained:.1f} s   ratio {trained / bare:.3f}   command line {cli:.2f} CPU-s")
    ratio = statistics.median(row[2] for row in rows)
    print(f"median ratio {ratio:.3f} over {pairs} pairs, {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    main()
