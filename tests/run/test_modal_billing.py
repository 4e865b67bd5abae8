"""Billed beside computed: Modal's report asked for through its own client, once, when somebody wants it."""

import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from grpclib import Status

from modal_plane import Fault
from tests.run.modal_desk import WAIT, Desk

pytestmark = pytest.mark.slow
RPC = "WorkspaceBillingReport"


def test_the_bill_is_shown_beside_the_count_once_it_was_asked_for(desk: Desk) -> None:
    desk.run("apply", "recipe.yaml")
    _was_made(desk, hours_ago=0)  # an hour may have struck since it was
    assert "nothing yet: Modal's report has whole hours alone" in desk.run("show", "remote", "--billed")

    _was_made(desk, hours_ago=2)
    (item,) = desk.plane.bill_usage()
    desk.plane.bills.items.append(replace(item, tags={"run": "another"}))
    asked = desk.plane.count(RPC)
    shown = json.loads(desk.run("report", "remote", "--billed", "--format", "json"))
    assert desk.plane.count(RPC) == asked + 1
    assert Decimal(shown["billed"]["usd"]) == item.cost > 0
    assert Decimal(shown["spent_usd"]) > 0

    text = " ".join(desk.run("show", "remote").split())
    assert "computed, from seconds and prices" in text
    assert "in Modal's report up to" in text
    assert "before credits; no later hour is in it" in text
    desk.run("report", "remote", "--html", "page.html")
    page = (desk.folder / "page.html").read_text()
    assert "<dt>billed</dt>" in page
    assert "computed, from seconds and prices" in page
    assert desk.plane.count(RPC) == asked + 1

    _refusals(desk)
    assert json.loads(desk.run("show", "remote", "--format", "json"))["billed"] == shown["billed"]


def test_the_account_s_rates_are_asked_for_by_its_own_client(desk: Desk) -> None:
    found = json.loads(desk.run("prices", "--refresh", "--format", "json"))
    h100 = next(gpu for gpu in found["gpus"] if gpu["name"] == "H100")
    hourly = Decimal(h100["usd_per_second"]) * 3600
    assert round(hourly, 2) == Decimal(desk.plane.settings.rates["gpu_hour_cost_h100"]) == Decimal("3.95")
    process = desk.start("prices", "--refresh", MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")
    _, said = process.communicate(timeout=WAIT)
    assert process.returncode == 7
    assert said.startswith("error: Modal does not know this machine: ")
    assert "help: run `modal token new`" in said


def _refusals(desk: Desk) -> None:
    """What stands in the way is one message, and what was known stays."""
    desk.plane.faults.append(Fault(RPC, Status.PERMISSION_DENIED, "billing reports need the Team plan"))
    code, said = _fail(desk)
    assert code == 7
    assert said.startswith("error: Modal gives this workspace no billing report: billing reports need the Team plan\n")
    assert "help: leave --billed out" in said
    code, said = _fail(desk, MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")
    assert code == 7
    assert said.startswith("error: Modal does not know this machine: ")


def _fail(desk: Desk, **environment: str) -> tuple[int, str]:
    process = desk.start("show", "remote", "--billed", **environment)
    _, said = process.communicate(timeout=WAIT)
    return process.returncode, said


def _was_made(desk: Desk, *, hours_ago: int) -> None:
    """The ledger as it would be had the run begun then."""
    (folder,) = desk.folder.glob("ledger/runs/*")
    manifest = json.loads((folder / "run.json").read_text())
    later = time.time() - 3600 * hours_ago - manifest["created"]
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (folder / "run.json").write_text(json.dumps(manifest | {"created": manifest["created"] + later}))
    moved: list[dict[str, Any]] = [line | {"at": line["at"] + later} for line in lines]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in moved))
