"""The pages on estimates show what the program computes today."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_the_tables_of_the_pages_are_computed_from_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import estimates

    assert len(estimates.CELLS_PLACE.findall(estimates.CELLS_PAGE.read_text("utf-8"))) == len(estimates.SHIPPED)
    for page, text in estimates.pages().items():
        assert text == page.read_text("utf-8"), "run `python benchmarks/estimates.py --write`"
