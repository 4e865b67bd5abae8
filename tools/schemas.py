"""Write the JSON Schemas of plan, event and report.  `python tools/schemas.py`; a test compares."""

import json
from pathlib import Path

from pydantic import TypeAdapter

from sftrun.contract.events import AnyEvent
from sftrun.plan.models import Plan
from sftrun.report.summary import Report

FOLDER = Path(__file__).parent.parent / "schemas"
KINDS: dict[str, tuple[str, TypeAdapter[object]]] = {
    "plan-v1": ("What will be done: plan.json of a run, and `sftrun apply --dry-run --format json`", TypeAdapter(Plan)),
    "event-v1": ("One line of events.jsonl, and of `sftrun apply --format json`", TypeAdapter(AnyEvent)),
    "report-v1": ("A run in figures: report.json, and `sftrun show --format json`", TypeAdapter(Report)),
}


def text(name: str) -> str:
    """The schema's file as it should be."""
    title, adapter = KINDS[name]
    schema = adapter.json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return (
        json.dumps({**head, **{k: v for k, v in schema.items() if k != "title"}}, indent=2, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    for kind in KINDS:
        (FOLDER / f"{kind}.schema.json").write_text(text(kind), encoding="utf-8")
