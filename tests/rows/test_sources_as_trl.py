"""Every form in every kind of file gives the tokens and labels that TRL gives for the equivalent rows."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pytest
from pyarrow import parquet

from sftrun.contract.choices import DataFormat
from sftrun.contract.jobspec import DataSource
from sftrun.contract.row_rules import RowRules
from sftrun.job.prepare import source_rows
from sftrun.rows.labels import Labelled, Labeller
from sftrun.rows.tokenizer import Tokens, load
from tests.rows.test_labels import MESSAGES, ROWS, by_trl
from tests.rows.tokenizers_for_tests import byte_level, save

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Row = dict[str, Any]
COUNT = 8
SAID = {"user": "human", "assistant": "gpt", "system": "system"}
TALKS: list[Row] = MESSAGES[:COUNT]


class Case(NamedTuple):
    """Rows as a source has them, the form and the rows that TRL gets, and what the recipe says of the source."""

    form: DataFormat
    rows: list[Row]
    raw: list[Row]
    said: dict[str, Any] = {}
    is_flat: bool = True


def sharegpt(row: Row) -> Row:
    return {"conversations": [{"from": SAID[turn["role"]], "value": turn["content"]} for turn in row["messages"]]}


def deep(row: Row) -> Row:
    turns = [{"who": turn["role"].upper(), "said": {"text": turn["content"]}} for turn in row["messages"]]
    return {"id": 1, "data": {"log": turns}}


def named(form: DataFormat, **names: str) -> list[Row]:
    return [{names.get(name, name): value for name, value in row.items()} for row in ROWS[form][:COUNT]]


LINES = [{"text": " ".join(row["text"].split())} for row in ROWS["text"][:COUNT]]
DEEP = {
    "columns": {"messages": "data.log", "role": "who", "content": "said.text"},
    "roles": {"USER": "user", "ASSISTANT": "assistant", "SYSTEM": "system"},
}
CASES: dict[str, Case] = {
    "messages": Case("messages", TALKS, TALKS, is_flat=False),
    "ShareGPT": Case("messages", TALKS, [sharegpt(row) for row in TALKS], is_flat=False),
    "turns deep in a row": Case("messages", TALKS, [deep(row) for row in TALKS], DEEP, is_flat=False),
    "pairs": Case("prompt_completion", ROWS["prompt_completion"][:COUNT], named("prompt_completion")),
    "pairs under other names": Case(
        "prompt_completion",
        ROWS["prompt_completion"][:COUNT],
        named("prompt_completion", prompt="source", completion="target"),
        {"columns": {"prompt": "source", "completion": "target"}},
    ),
    "Alpaca": Case("instruction", ROWS["instruction"][:COUNT], named("instruction")),
    "Dolly": Case("instruction", ROWS["instruction"][:COUNT], named("instruction", input="context", output="response")),
    "questions": Case(
        "instruction",
        ROWS["instruction"][:COUNT],
        named("instruction", instruction="question", output="answer"),
    ),
    "queries": Case(
        "instruction",
        ROWS["instruction"][:COUNT],
        named("instruction", instruction="query", output="response"),
    ),
    "texts": Case("text", LINES, LINES),
    "texts in another column": Case(
        "text", LINES, [{"body": row["text"]} for row in LINES], {"columns": {"text": "body"}, "format": "text"}
    ),
}


def jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table(rows: list[Row], sign: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=sign)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def columns(rows: list[Row]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(data))


FLAT: dict[str, Callable[[list[Row]], bytes]] = {
    "rows.csv": lambda rows: table(rows, ","),
    "semicolons.csv": lambda rows: table(rows, ";"),
    "rows.tsv": lambda rows: table(rows, "\t"),
    "rows.csv.gz": lambda rows: gzip.compress(table(rows, ",")),
}
KINDS: dict[str, Callable[[list[Row]], bytes]] = {
    "rows.jsonl": jsonl,
    "rows.json": lambda rows: json.dumps(rows).encode(),
    "rows.parquet": columns,
    "rows.jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "rows.jsonl.zst": lambda rows: zstd(jsonl(rows)),
    "a folder": jsonl,
    **FLAT,
    "rows.txt": lambda rows: "".join(row["text"] + "\n" for row in rows).encode(),
}


def fits(case: Case, kind: str) -> bool:
    """Whether a kind of file can hold such rows."""
    if kind == "rows.txt":
        return list(case.raw[0]) == ["text"]
    if kind == "semicolons.csv" and len(case.raw[0]) == 1:
        return False  # one column has no sign between
    return case.is_flat or kind not in FLAT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(byte_level(), tmp_path_factory.mktemp("model"))


@cache
def trl_s(name: str, folder: Path) -> list[tuple[list[int], list[int]]]:
    how = {"assistant_only_loss": True} if CASES[name].form == "messages" else {}
    return by_trl(CASES[name].form, CASES[name].rows, folder, **how)


@cache
def tokens_of(folder: Path) -> Tokens:
    found = load(folder)
    assert isinstance(found, Tokens)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_source_gives_what_trl_gives(name: str, kind: str, folder: Path, tmp_path: Path) -> None:
    case = CASES[name]
    if not fits(case, kind):
        return
    path = write(tmp_path, kind, KINDS[kind](case.raw))
    found = source_rows.of_source(DataSource(files=(str(path),), **case.said), RowRules())
    assert found.form == case.form
    labeller = Labeller(found.rules, found.form, 4096, tokens_of(folder))
    made = [row for row in labeller.labels(found.rows[:]) if isinstance(row, Labelled)]
    assert [(list(row.ids), list(row.labels)) for row in made] == trl_s(name, folder)


def write(folder: Path, kind: str, data: bytes) -> Path:
    if kind != "a folder":
        (folder / kind).write_bytes(data)
        return folder / kind
    half = data.splitlines(keepends=True)
    (folder / "a.jsonl").write_bytes(b"".join(half[:3]))
    (folder / "b.jsonl").write_bytes(b"".join(half[3:]))
    (folder / "notes.txt").write_text("no rows")
    return folder
