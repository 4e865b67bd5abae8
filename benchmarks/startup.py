"""What starting costs, against processes that load the same libraries.

    python benchmarks/startup.py [--rounds 10]

Two of them stand beside `validate`.  One imports pydantic, ruamel.yaml, click and rich and does nothing: pydantic
2.14 then loads little of itself.  The other has them at work: one model defined, one line of YAML composed, one table
printed.  The fastest of all rounds counts, each a fresh process; the two of a row take turns, so that a busy machine
slows both.  The ratio is of CPU time, which others on the machine change less than the wall clock's.  Bytecode is kept
between rounds, as it is of an installed package.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SFTRUN = str(Path(sys.executable).with_name("sftrun"))
ROOT = Path(__file__).parent.parent
QUICKSTART = str(ROOT / "recipes" / "quickstart.yaml")
MANY = 100
CLICK = ("import click", [sys.executable, "-c", "import click"])
IMPORTED = ("the four imported", [sys.executable, "-c", "import pydantic, ruamel.yaml, click, rich"])
WORKING = """
import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

class Model(BaseModel):
    field: int

Model(field=1)
YAML().compose("field: 1")
Console().print(Table("field"))
"""
AT_WORK = ("the four at work", [sys.executable, "-c", WORKING])
RECIPE = """\
version: 1
name: startup
model: {name_or_path: ./model}
lora: {}
dataset: {train: {hub: some/data, num_examples: 10000, mean_tokens: 200}}
trainer: {max_steps: 1000}
compute: COMPUTE
volumes: {/out: results}
output: {dir: /out/startup}
"""


def main() -> None:
    rounds = _arguments().rounds
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        head = f"{'wall':>8} {'CPU':>8}"
        print(f"{'command':32} {head}  {'beside':26} {head}  {'ratio':>6}  bar")
        row("--help", CLICK, "1.5 × + 60 ms", rounds)
        for recipe in ("local.yaml", "rented.yaml", QUICKSTART):
            row(f"validate {recipe}", IMPORTED, "2 ×", rounds)
            row(f"validate {recipe}", AT_WORK, "", rounds)
        row("estimate-cost rented.yaml", _ours("validate rented.yaml"), "2 ×", rounds)
        for kind in ("local", "rented"):
            row(f"validate {MANY}-{kind}", _ours(f"validate {kind}.yaml"), "10 ×", rounds)
        row("runs", CLICK, "", rounds)
        row("apply --help", IMPORTED, "", rounds)


def row(arguments: str, beside: tuple[str, list[str]], bar: str, rounds: int) -> None:
    """One line of the table."""
    (name, command), (other_name, other) = _ours(arguments), beside
    pairs = [(seconds(command), seconds(other)) for _ in range(rounds)]
    (wall, cpu), (other_wall, other_cpu) = (map(min, zip(*side, strict=True)) for side in zip(*pairs, strict=True))
    figures = f"{_ms(wall)} {_ms(cpu)}  {other_name:26} {_ms(other_wall)} {_ms(other_cpu)}"
    print(f"{name:32} {figures}  {cpu / other_cpu:6.2f}  {bar}")


def seconds(command: list[str]) -> tuple[float, float]:
    """(wall, CPU) of one process."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:5.0f} ms"


def _ours(arguments: str) -> tuple[str, list[str]]:
    return f"sftrun {arguments.replace(QUICKSTART, 'quickstart.yaml')}", [SFTRUN, *arguments.split()]


def _prepare(folder: Path) -> None:
    """Go to a folder with a model, a recipe that runs here, one that rents a GPU, and many of both."""
    os.chdir(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    shutil.copytree(ROOT / "sftrun" / "builtin" / "tiny", "model")
    for kind, compute in (("local", "{executor: local, gpu: none}"), ("rented", "{gpu: H200}")):
        text = RECIPE.replace("COMPUTE", compute)
        Path(f"{kind}.yaml").write_text(text, encoding="utf-8")
        many = Path(f"{MANY}-{kind}")
        many.mkdir()
        for number in range(MANY):
            changed = text.replace("startup", f"startup-{number}").replace("./model", "../model")
            (many / f"{number}.yaml").write_text(changed, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
