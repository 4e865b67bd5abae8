"""Estimates against measurements: `python benchmarks/estimates.py [cells.json …]` prints what the docs show.

Needs no GPU: the cells were measured by `calibrate.py measure`.  Held-out cells judge; the others were fitted to.
`--write` puts the tables of cells into docs/estimates-cells.md and their sums into docs/estimates.md; a test compares.
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

DOCS = Path(__file__).parents[1] / "docs"
SUMS_PAGE, CELLS_PAGE = DOCS / "estimates.md", DOCS / "estimates-cells.md"
SUMS_PLACE = re.compile(r"(?<=\| measured \| held-out cells \|)[^\n]*\n(?:\|[^\n]*\n)*")
CELLS_PLACE = re.compile(r"\| cell \| use .*?\n\n(?:(?:fitted|held out), [^\n]*\n)+", re.DOTALL)
# the files whose cells stand on the page, in its order
SHIPPED = ("h200-blind-3", "h200-blind-1", "h200", "h100")
SITTINGS = {
    "h200-blind-3": "H200, blind, third sitting, today's code",
    "h200-blind-2": "H200, blind, second sitting, a busy machine",
    "h200-blind-1": "H200, blind, first sitting",
    "h200": "H200, calibration",
    "h100": "H100, calibration",
}


def table(cells: Sequence[Cell]) -> str:
    """One line a cell, as Markdown."""
    constants = calibration.shipped()
    lines = ["| cell | use | s/step | estimated | error | GB | estimated | error |", "|" + " --- |" * 8]
    for cell in cells:
        seconds = fit.seconds(cell, constants)
        gb = fit.allocated_gb(cell)
        use = "held out" if cell.held_out else "fitted"
        more = "" if cell.fused else ", plain adapters"
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
    time = _two_figures(fit.time_errors(cells, calibration.shipped()))
    known = fit.memory_errors(cells)
    words = "median {:.1%}, 90th percentile {:.1%}"
    return f"time {words.format(*time)}" + (f"; memory {words.format(*_two_figures(known))}" if len(known) > 1 else "")


def _two_figures(errors: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile of the errors' sizes."""
    sizes = [abs(error) for error in errors]
    return median(sizes), quantiles(sizes, n=10, method="inclusive")[-1]


def file_of(name: str) -> Path:
    """The cells that were measured in one sitting."""
    return Path(__file__).with_name(f"cells-{name}.json")


def shown(path: Path) -> str:
    """Table and summary of one file's cells."""
    found = read(path)
    return f"{table(found)}\n\n{summary(found)}\n"


def sums() -> str:
    """One line a sitting: how far off its held-out cells are."""
    lines = [" time: median, nine of ten | memory: median, nine of ten | within the range shown |", "|" + " --- |" * 5]
    for name, words in SITTINGS.items():
        cells = [cell for cell in read(file_of(name)) if cell.held_out]
        time = "{:.1%}, {:.1%}".format(*_two_figures(fit.time_errors(cells, calibration.shipped())))
        memory = "{:.1%}, {:.1%}".format(*_two_figures(fit.memory_errors(cells)))
        within = sum(fit.is_within(cell, calibration.shipped()) for cell in cells)
        lines.append(f"| {words} | {len(cells)} | {time} | {memory} | {within} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Each page with its tables computed anew."""
    tables = map(shown, map(file_of, SHIPPED))
    return {
        SUMS_PAGE: SUMS_PLACE.sub(lambda _: sums(), SUMS_PAGE.read_text("utf-8")),
        CELLS_PAGE: CELLS_PLACE.sub(lambda _: next(tables), CELLS_PAGE.read_text("utf-8")),
    }


if __name__ == "__main__":
    if "--write" in sys.argv:
        for page, text in pages().items():
            page.write_text(text, "utf-8")
    else:
        for path in map(Path, sys.argv[1:]) if sys.argv[1:] else map(file_of, SHIPPED):
            print(path.stem, shown(path), sep="\n\n")
