"""What starting costs, against processes that import the same libraries and do nothing.

    python benchmarks/startup.py [--rounds 10]

The fastest of all rounds counts, each a fresh process; the two of a row take turns, so that a busy machine slows both.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SFTRUN = str(Path(sys.executable).with_name("sftrun"))
RECIPES = Path(__file__).parent.parent / "recipes"
CLICK = [sys.executable, "-c", "import click"]
LIBRARIES = [sys.executable, "-c", "import pydantic, ruamel.yaml, click, rich"]


def main() -> None:
    rounds = _arguments().rounds
    recipe = str(RECIPES / "quickstart.yaml")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(f"{'command':34} {'takes':>8}  {'beside':46} {'takes':>8}  {'ratio':>6}  bar")
        row("sftrun --help", [SFTRUN, "--help"], "import click", CLICK, "1.5 × + 60 ms", rounds)
        libraries = "import pydantic, ruamel.yaml, click, rich"
        row("sftrun validate quickstart.yaml", [SFTRUN, "validate", recipe], libraries, LIBRARIES, "2 ×", rounds)
        row("sftrun runs (none)", [SFTRUN, "runs"], "import click", CLICK, "", rounds)
        row("sftrun apply --help", [SFTRUN, "apply", "--help"], libraries, LIBRARIES, "", rounds)


def row(name: str, command: list[str], beside: str, other: list[str], bar: str, rounds: int) -> None:
    """One line of the table."""
    ours, theirs = float("inf"), float("inf")
    for _ in range(rounds):
        ours, theirs = min(ours, seconds(command)), min(theirs, seconds(other))
    print(f"{name:34} {ours * 1000:5.0f} ms  {beside:46} {theirs * 1000:5.0f} ms  {ours / theirs:6.2f}  {bar}")


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
