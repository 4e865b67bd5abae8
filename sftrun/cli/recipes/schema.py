"""`sftrun schema`: JSON Schemas, for editors and for programs that read what this one writes."""

import json
from typing import Any

import click

EPILOG = """\b
Examples:
  sftrun schema > recipe.schema.json
  sftrun schema plan

In an editor with the YAML language server, begin a recipe with
  # yaml-language-server: $schema=recipe.schema.json
"""
NAMES = ("recipe", "plan", "event", "report", "estimate")
_VERSIONS = {"plan": 2}  # of the form; the others have their first


@click.command(epilog=EPILOG)
@click.argument("name", type=click.Choice(NAMES), default="recipe", required=False)
def command(name: str) -> int:
    """Print a JSON Schema (draft 2020-12)."""
    click.echo(text_of(name), nl=False)
    return 0


def file_name(name: str) -> str:
    """Where it is committed."""
    return f"{name}-v{_VERSIONS.get(name, 1)}.schema.json"


def text_of(name: str) -> str:
    """One schema as text; the file of `schemas/` that `file_name` names holds the same."""
    if name == "recipe":
        from sftrun.recipe.jsonschema import text

        return text()
    from pydantic import TypeAdapter

    kind = _kind(name)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(kind).json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _kind(name: str) -> Any:
    if name == "plan":
        from sftrun.plan.types import Plan

        return Plan
    if name == "event":
        from sftrun.contract.events import AnyEvent

        return AnyEvent
    if name == "estimate":
        from sftrun.report.estimates import Document

        return Document
    from sftrun.report.summary import Report

    return Report
