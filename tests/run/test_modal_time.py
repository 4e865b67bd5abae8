"""Time and money on Modal: an attempt hands over before its timeout, and a dead supervisor can't spend on."""

import json
import os
import pty
from decimal import Decimal
from typing import Any

import pytest

from tests.run.modal_desk import WAIT, Desk, recorded, started

pytestmark = pytest.mark.slow


def steps(seen: list[dict[str, Any]]) -> list[int]:
    return [event["step"] for event in seen if event["kind"] == "step"]


def test_an_attempt_hands_over_before_its_timeout_and_the_curve_is_one(desk: Desk) -> None:
    long = ("trainer.max_steps=20000", "trainer.save_steps=20000", "compute.timeout=40s")
    desk.run("apply", "recipe.yaml", "--detach", *(word for each in long for word in ("--set", each)))
    desk.wait_for('"reason":"timeout"')
    desk.wait_for('"attempt":2')
    desk.plane.wait_until(lambda: '"kind":"step"' in _posted(desk).rpartition('"attempt":2')[2], WAIT, "a step")
    desk.run("cancel", "remote", "--now")
    seen = [json.loads(line) for line in _posted(desk).splitlines()]
    stopped = next(event for event in seen if event["kind"] == "stopped")
    assert started(seen) == [(1, None), (2, stopped["step"])]
    assert steps(seen) == list(range(1, len(steps(seen)) + 1))
    assert len(recorded(desk)) > 5


@pytest.mark.parametrize("answer", ["n", "y"])
def test_a_run_that_may_outspend_its_budget_is_asked_about(desk: Desk, answer: str) -> None:
    master, terminal = pty.openpty()
    os.write(master, f"{answer}\n".encode())
    words = ("--set", "compute.gpu=A10", "--set", "trainer.max_steps=2", "--max-usd", "0.02")
    client = desk.start("apply", "recipe.yaml", *words, stdin=terminal)
    printed, said = client.communicate(timeout=WAIT)
    assert "the budget is $0.02: it may stop before its end; start it? [y/N]" in printed + said
    assert client.returncode == (0 if answer == "y" else 5)
    assert ("not started, as you said" in said) is (answer == "n")
    assert desk.plane.count("FunctionMap") == (1 if answer == "y" else 0)


def test_modal_s_own_timeout_is_what_the_budget_pays_for(desk: Desk) -> None:
    words = ("--set", "budget.max_usd=0.01", "--set", "compute.cpu=2", "--set", "compute.retries=0")
    client = desk.start("apply", "recipe.yaml", *words)
    created = desk.plane.wait_until(lambda: [rpc for rpc in desk.plane.calls if rpc.name == "FunctionCreate"], WAIT)
    job = json.loads(next((desk.folder / "ledger").glob("runs/*/job.json")).read_text())
    paid = Decimal("0.01") / Decimal(job["money"]["usd_per_second"])
    assert created[0].request.function.timeout_secs == pytest.approx(min(float(paid) + 60, 600), abs=1)
    desk.run("cancel", "remote", "--now")
    client.communicate(timeout=WAIT)


def _posted(desk: Desk) -> str:
    """What a watcher has seen."""
    desk.run("runs", "--refresh")
    return next((desk.folder / "ledger").glob("runs/*/events.jsonl")).read_text()
