"""Measure the grid on this machine's GPU and fit the time model's constants to it.

    python benchmarks/calibrate.py measure --out cells.json --gpu H100 [--blind] [--limit 540] [--part 0/2]
    python benchmarks/calibrate.py fit cells.json … [--stacks compiled …] --out CALIBRATION.json

A group of cells shares a model, and so a process, its imports and its compiled layers (`measuring`).  Three processes
are under way at once where the GPU's memory has room for them, so that they import, compile and warm up together; while
one measures, the others are frozen (`turns`).
"""

import argparse
import datetime
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cells import Cell, gpu_of, read, write  # noqa: E402
from grid import BLIND, GRID, SINCE  # noqa: E402
from turns import Group, Turns  # noqa: E402

from sftrun.facts.values import Gpu  # noqa: E402
from sftrun.job.supervise.process import DEFAULTS  # noqa: E402
from sftrun.plan.estimate import memory  # noqa: E402
from sftrun.plan.estimate.workload import Batch, worst_batch  # noqa: E402

AT_ONCE = 3


def measure_all(groups: list[list[Cell]], gpu: Gpu, out: Path, limit: float) -> None:
    """Every group in a process of its own; what is done by the limit is kept."""
    began, turns = time.monotonic(), Turns()
    # the largest first: what is small finds room beside it
    waiting = sorted(enumerate(groups), key=lambda entry: -needs_gb(entry[1], gpu))
    with tempfile.TemporaryDirectory() as name:
        folder, running = Path(name), dict[int, Group]()
        try:
            while (waiting or running) and time.monotonic() < began + limit:
                if turns.alone is None:
                    _start_more(waiting, running, groups, gpu, turns, folder)
                turns.serve(0.2)
                for number, group in tuple(running.items()):
                    if group.process.poll() is not None:
                        del running[number]
                        print(f"{time.monotonic() - began:.0f} s", _said(folder / f"{number:03}.log"), flush=True)
                        write(out, _collected(folder))
        finally:
            turns.end()
        write(out, _collected(folder))
        for number in running:
            print("cut off", _said(folder / f"{number:03}.log"), flush=True)


def _start_more(
    waiting: list[tuple[int, list[Cell]]],
    running: dict[int, Group],
    groups: list[list[Cell]],
    gpu: Gpu,
    turns: Turns,
    folder: Path,
) -> None:
    """What the GPU has room for."""
    room = gpu.memory_gb - sum(needs_gb(groups[number], gpu) for number in running)
    for entry in tuple(waiting):
        number, cells = entry
        needed = needs_gb(cells, gpu)
        if len(running) < AT_ONCE and (needed < room or not running):
            waiting.remove(entry)
            running[number] = _start(number, cells, folder, turns)
            room -= needed


def _said(log: Path) -> str:
    return "\n  ".join(["", *(line[:240] for line in log.read_text().strip().splitlines()[-6:])])


def needs_gb(cells: list[Cell], gpu: Gpu) -> float:
    """The largest cell's peak as estimated, with what the making of the model in 16 bits takes."""
    peaks = [memory.estimate(cell.setup(), _largest(cell), gpu).peak_gb for cell in cells]
    return max(*peaks, 2.2 * cells[0].setup().model.parameters / 1e9) + 2.0


def _largest(cell: Cell) -> Batch:
    flat = 177 * cell.batch + 3 * 165 * cell.batch**0.5  # rows of 177 tokens, deviation 165: three of those above
    tokens = (
        flat if cell.layout == "padding_free" else cell.batch * (cell.max_length if cell.layout == "packed" else 1900)
    )
    setup = cell.setup()
    return worst_batch(setup.trainer, setup.step)._replace(largest_tokens=tokens)


def _start(number: int, cells: list[Cell], folder: Path, turns: Turns) -> Group:
    wanted = folder / f"{number:03}.in"
    write(wanted, cells)
    command = [sys.executable, str(Path(__file__).with_name("measuring.py")), str(wanted)]
    environment = DEFAULTS | {"TORCHINDUCTOR_COMPILE_THREADS": "4", "TRANSFORMERS_VERBOSITY": "error"} | os.environ
    return turns.start(command, folder / f"{number:03}", wanted.with_suffix(".log"), environment)


def _collected(folder: Path) -> list[Cell]:
    lines = [line for file in sorted(folder.glob("*.done")) for line in file.read_text().splitlines()]
    return [Cell(**json.loads(line)) for line in lines if line.endswith("}")]


def fit_all(cells: list[Cell], out: Path) -> None:
    """Constants of every stack that the cells know; the others stay."""
    from fit import fit

    from sftrun.facts.gpus import calibration

    used = [cell for cell in cells if not cell.held_out and cell.seconds]
    found, today = fit(used, calibration.shipped()), datetime.datetime.now(datetime.UTC).date().isoformat()
    gpus = {stack: tuple(sorted({cell.gpu for cell in used if cell.stack == stack})) for stack in found.stacks}
    dated = {
        stack: constants.model_copy(update={"date": today, "gpus": gpus[stack]})
        for stack, constants in found.stacks.items()
        if gpus[stack]
    }
    for stack, constants in dated.items():
        print(stack, constants)
    found = found.model_copy(update={"stacks": {**found.stacks, **dated}})
    out.write_text(found.model_dump_json(indent=2, exclude_defaults=True) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("--out", type=Path, required=True)
    measure.add_argument("--limit", type=float, default=540)
    measure.add_argument("--gpu", required=True, help="the catalog's name of this machine's GPU")
    measure.add_argument("--blind", action="store_true", help="the set that was never fitted to, nor chosen by")
    measure.add_argument("--only", default="", help="cells whose name this pattern is found in")
    measure.add_argument("--part", default="0/1", help="every Nth group from the Kth: K/N, for several GPUs")
    fitting = commands.add_parser("fit")
    fitting.add_argument("cells", type=Path, nargs="+")
    fitting.add_argument("--out", type=Path, required=True)
    fitting.add_argument("--stacks", nargs="+", help="cells of these alone")
    options = parser.parse_args()
    if options.command == "measure":
        wanted = [
            replace(cell, gpu=options.gpu)
            for cell in ((*BLIND, *SINCE) if options.blind else GRID)
            if re.search(options.only, cell.name)
        ]
        first, every = map(int, options.part.split("/"))
        groups = [list(found) for _, found in groupby(wanted, attrgetter("group"))][first::every]
        measure_all(groups, gpu_of(options.gpu), options.out, options.limit)
    else:
        cells = [cell for path in options.cells for cell in read(path)]
        fit_all([cell for cell in cells if cell.stack in (options.stacks or [cell.stack])], options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
