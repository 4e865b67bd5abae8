"""A budget holds: never overspent, and what it paid for in hand.  Real workers, made-up prices, a fast clock."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.warm import start

TRIES = 20
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_twenty_budgets_stop_with_a_checkpoint_and_within_the_money(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "tests.job.budget_tries", str(tmp_path), str(TRIES)]
    done = start.run(command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    *tries, deaf = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(tries) == TRIES
    for found in tries:
        assert (found["end"], found["reason"], found["names_it"]) == ("stopped", "budget", True), found
        assert 0 < found["step"] == found["checkpoint_step"], found
        assert Decimal(0) < Decimal(found["spent"]) <= Decimal(found["budget"]), found
    assert len({found["step"] for found in tries}) > 1
    for found in tries[:2]:
        resumed = found["resumed"]
        assert resumed["from"] == found["step"]
        assert (resumed["end"], resumed["spent_more"], resumed["same_curve"]) == ("finished", True, True), resumed
    assert (deaf["end"], deaf["reason"], deaf["checkpoint_step"]) == ("stopped", "budget", 10), deaf
    assert Decimal(deaf["spent"]) <= Decimal(deaf["budget"]), deaf
