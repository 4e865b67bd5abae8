"""Measure the grid on this machine's GPU and fit the time model's constants to it.

    python benchmarks/calibrate.py measure --out cells.json [--limit 540]
    python benchmarks/calibrate.py fit cells.json --out sftrun/facts/catalog/calibration-h200.json

A group of cells shares a model, and so a process, its imports and its compiled layers.  Three processes are under way
at once, so that one compiles while another measures; while one measures, the others hold still between their steps.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cells import Cell, read, write  # noqa: E402
from grid import GRID  # noqa: E402

AT_ONCE = 3


def group_of(cell: Cell) -> tuple[Any, ...]:
    return cell.shape, cell.stack, cell.bits, cell.dequantize, cell.checkpointing, cell.rank


def measure_all(cells: list[Cell], out: Path, limit: float) -> None:
    """Every group in a process of its own; what is done by the limit is kept."""
    ended = time.monotonic() + limit
    groups = [list(found) for _, found in groupby(cells, group_of)]
    with tempfile.TemporaryDirectory() as folder:
        waiting, running = list(enumerate(groups)), []
        while (waiting or running) and time.monotonic() < ended:
            while waiting and len(running) < AT_ONCE:
                number, group = waiting.pop(0)
                running.append(_start(number, group, Path(folder)))
            time.sleep(0.2)
            running = [process for process in running if process.poll() is None]
            write(out, _collected(Path(folder)))
        for process in running:
            process.kill()
        write(out, _collected(Path(folder)))
        for log in sorted(Path(folder).glob("*.log")):
            tail = log.read_text().strip().splitlines()[-3:]
            print(log.stem, *tail, sep="\n  ", flush=True)


def _start(number: int, group: list[Cell], folder: Path) -> "subprocess.Popen[bytes]":
    wanted = folder / f"{number:03}.in"
    write(wanted, group)
    command = [sys.executable, __file__, "group", str(wanted), "--lock", str(folder / "lock")]
    with (folder / f"{number:03}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _collected(folder: Path) -> list[Cell]:
    lines = [line for file in sorted(folder.glob("*.done")) for line in file.read_text().splitlines()]
    return [Cell(**json.loads(line)) for line in lines if line.endswith("}")]


def fit_all(cells: tuple[Cell, ...], out: Path) -> None:
    """Constants of every stack that the cells know; the others stay."""
    from fit import fit

    from sftrun.facts import calibration, catalog

    before = calibration.shipped()
    gpu = catalog.find(catalog.shipped(), before.gpu)
    assert gpu is not None
    stacks = dict(before.stacks)
    used = [cell for cell in cells if not cell.held_out and cell.seconds]
    for stack in sorted({cell.stack for cell in used}):
        stacks[stack] = fit(stack, [cell for cell in used if cell.stack == stack], before, gpu)
        print(stack, stacks[stack])
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = before.model_copy(update={"stacks": stacks, "date": today})
    out.write_text(found.model_dump_json(indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("--out", type=Path, required=True)
    measure.add_argument("--limit", type=float, default=540)
    measure.add_argument("--only", help="cells whose name holds this")
    group = commands.add_parser("group")
    group.add_argument("cells", type=Path)
    group.add_argument("--lock", type=Path, required=True)
    fitting = commands.add_parser("fit")
    fitting.add_argument("cells", type=Path)
    fitting.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "measure":
        wanted = [cell for cell in GRID if not options.only or options.only in cell.name]
        measure_all(wanted, options.out, options.limit)
    elif options.command == "group":
        from measuring import measure_group

        measure_group(list(read(options.cells)), options.lock, options.cells.with_suffix(".done"))
    else:
        fit_all(read(options.cells), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
