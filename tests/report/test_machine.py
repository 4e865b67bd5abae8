"""Diagnostics for machines: the JSON document, GitHub's annotations."""

import json

from sftrun.recipe.load import load
from sftrun.report.show.as_json import annotations, document

TEXT = """\
version: 1
name: a
model: {name_or_path: x}
dataset: {train: r.jsonl}
trainer: {max_stepz: 5, seed: "1,2:3"}
output: {dir: /data/a}
volumes: {/data: v}
"""


def test_the_document_has_the_keys_that_are_promised() -> None:
    loaded = load("-", text=TEXT)

    read = json.loads(document([("<stdin>", loaded.diagnostics, loaded.source)]))

    (file,) = read["files"]
    assert (file["file"], file["ok"]) == ("<stdin>", False)
    assert file["diagnostics"][0] == {
        "code": "R103",
        "severity": "error",
        "message": "unknown key `max_stepz` in `trainer`",
        "help": "did you mean `max_steps`?",
        "path": "trainer.max_stepz",
        "file": "<stdin>",
        "line": 5,
        "column": 11,
        "end_line": 5,
        "end_column": 20,
    }


def test_a_file_without_problems_is_ok() -> None:
    loaded = load("-", text=TEXT.replace('max_stepz: 5, seed: "1,2:3"', "max_steps: 5"))

    read = json.loads(document([("-", loaded.diagnostics, loaded.source)]))

    assert read == {"files": [{"file": "-", "ok": True, "diagnostics": []}]}


def test_an_annotation_is_one_line_with_what_is_special_escaped() -> None:
    loaded = load("-", text=TEXT)

    first, second = annotations([("-", loaded.diagnostics, loaded.source)]).splitlines()

    assert first == (
        "::error file=<stdin>,line=5,col=11,endLine=5,endColumn=19,title=R103::"
        "unknown key `max_stepz` in `trainer`%0Ahelp: did you mean `max_steps`?"
    )
    assert second.startswith("::error file=<stdin>,line=5,col=31,")


def test_strict_makes_errors_of_warnings() -> None:
    loaded = load("-", text=TEXT.replace("max_stepz", "max_steps").replace('seed: "1,2:3"', "warmup_steps: 9"))

    assert "::warning " in annotations([("-", loaded.diagnostics, loaded.source)])
    assert "::error " in annotations([("-", loaded.diagnostics, loaded.source)], strict=True)
