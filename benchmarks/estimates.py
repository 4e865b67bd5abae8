"""Estimates against measurements: `python benchmarks/estimates.py [cells.json …]` prints what docs/estimates.md shows.

Needs no GPU: the cells were measured by `calibrate.py measure`.  Held-out cells judge; the others were fitted to.
`--write` puts the shipped cells' tables into that page anew; a test compares.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import fit  # noqa: E402
from cells import Cell, read  # noqa: E402

from sftrun.facts.gpus import calibration  # noqa: E402

PAGE = Path(__file__).parents[1] / "docs" / "estimates.md"
PLACE = re.compile(r"\| cell \| use .*?\n\n(?:(?:fitted|held out), [^\n]*\n)+", re.DOTALL)
SHIPPED = tuple(
    Path(__file__).with_name(f"cells-{name}.json") for name in ("h200-blind-3", "h200-blind-1", "h200", "h100")
)


def table(cells: Sequence[Cell]) -> str:
    """One line a cell, as Markdown."""
    constants = calibration.shipped()
    lines = ["| cell | use | s/step | estimated | error | GB | estimated | error |", "|" + " --- |" * 8]
    for cell in cells:
        seconds = fit.seconds(cell, constants)
        gb = fit.allocated_gb(cell)
        use = "held out" if cell.held_out else "fitted"
        more = "" if cell.joined else ", plain adapters"
        kept = (
            f"{cell.allocated_gb:.1f} | {gb:.1f} | {gb / cell.allocated_gb - 1:+.0%}" if cell.allocated_gb else " | | "
        )
        lines.append(
            f"| {cell.name}{more} | {use} | {cell.seconds:.3f} | {seconds:.3f} | {seconds / cell.seconds - 1:+.0%} "
            f"| {kept} |"
        )
    return "\n".join(lines)


def summary(cells: Sequence[Cell]) -> str:
    """Median and 90th percentile of the errors: of fitted and held-out cells, and of these by what bounds them."""
    held_out = [cell for cell in cells if cell.held_out]
    launched = [cell for cell in held_out if fit.is_launch_bound(cell, calibration.shipped())]
    sets = {
        "fitted, {} cells": [cell for cell in cells if not cell.held_out],
        "held out, {} cells": held_out,
        "held out, {} of these that the GPU bounds": [cell for cell in held_out if cell not in launched],
        "held out, {} of these that wait for launches": launched,
    }
    lines = [f"{name.format(len(some))}: {_errors(some)}" for name, some in sets.items() if len(some) > 1]
    within = sum(fit.is_within(cell, calibration.shipped()) for cell in held_out)
    return "\n".join([*lines, f"held out, within the range that is shown: {within} of {len(held_out)}"])


def _errors(cells: Sequence[Cell]) -> str:
    time = _spread(fit.time_errors(cells, calibration.shipped()))
    known = fit.memory_errors(cells)
    return f"time {time}" + (f"; memory {_spread(known)}" if len(known) > 1 else "")


def _spread(errors: Sequence[float]) -> str:
    sizes = [abs(error) for error in errors]
    return f"median {median(sizes):.1%}, 90th percentile {quantiles(sizes, n=10, method='inclusive')[-1]:.1%}"


def shown(path: Path) -> str:
    """Table and summary of one file's cells."""
    found = read(path)
    return f"{table(found)}\n\n{summary(found)}\n"


def page(text: str) -> str:
    """The page with its tables computed anew: the first is the first shipped file's, and so on."""
    tables = iter(SHIPPED)
    return PLACE.sub(lambda _: shown(next(tables)), text)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    else:
        for path in map(Path, sys.argv[1:] or SHIPPED):
            print(path.stem, shown(path), sep="\n\n")
