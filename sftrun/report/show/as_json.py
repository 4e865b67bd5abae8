"""Diagnostics for machines: one JSON document, and the annotations of GitHub's workflows.

Lines and columns count from 1; `path` is the dotted key, as `--set` takes it.  `fix` is there where the correction is
certain.
"""

import json
from collections.abc import Iterable

from sftrun.diagnostics import Diagnostic, dotted
from sftrun.recipe.read.nodes import Source
from sftrun.recipe.secrets import mask

Judged = tuple[str, Iterable[Diagnostic], Source]


def document(files: Iterable[Judged], *, strict: bool = False) -> str:
    """The JSON document of RECIPE's form for machines."""
    return json.dumps({"files": [_file(*judged, strict) for judged in files]}, indent=2, ensure_ascii=False)


def annotations(files: Iterable[Judged], *, strict: bool = False) -> str:
    """One `::error` or `::warning` line for each diagnostic."""
    return "\n".join(_annotation(found, source, strict) for _, all_found, source in files for found in all_found)


def record(found: Diagnostic, source: Source, *, strict: bool = False) -> dict[str, object]:
    """One diagnostic as JSON has it."""
    span = source.place(found)
    return {
        "code": found.code,
        "severity": "error" if strict else found.severity,
        "message": mask(found.message),
        "help": mask(found.help) if found.help else None,
        "path": dotted(found.at),
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }


def _file(file: str, diagnostics: Iterable[Diagnostic], source: Source, strict: bool) -> dict[str, object]:
    found = [record(one, source, strict=strict) for one in diagnostics]
    return {"file": file, "ok": all(one["severity"] != "error" for one in found), "diagnostics": found}


def _annotation(found: Diagnostic, source: Source, strict: bool) -> str:
    span = source.place(found)
    level = "error" if strict else found.severity
    places = {"file": span.file, "line": span.line, "col": span.column, "endLine": span.end_line}
    if span.end_line == span.line:
        # GitHub's endColumn is the last one that is marked
        places["endColumn"] = max(span.end_column - 1, span.column)
    properties = ",".join(f"{key}={_escape(str(value), ',:')}" for key, value in places.items())
    text = mask(found.message) + (f"\nhelp: {mask(found.help)}" if found.help else "")
    return f"::{level} {properties},title={_escape(found.code, ',:')}::{_escape(text)}"


def _escape(text: str, more: str = "") -> str:
    for letter in "%\r\n" + more:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text
