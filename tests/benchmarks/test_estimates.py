"""The page on estimates shows what the program computes today."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_the_tables_of_the_page_are_computed_from_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import estimates

    text = estimates.PAGE.read_text("utf-8")
    assert len(estimates.PLACE.findall(text)) == len(estimates.SHIPPED)
    assert estimates.page(text) == text, "run `python benchmarks/estimates.py --write`"
