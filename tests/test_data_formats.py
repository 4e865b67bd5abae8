"""docs/data-formats.md says what the program does: `data show` its examples, `validate` what is refused."""

import gzip
import json
import re
from pathlib import Path

import pyarrow
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from sftrun.cli.main import cli

PAGE = (Path(__file__).parent.parent / "docs" / "data-formats.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"(?:<!-- set: ([^\n]+) -->\n\n)?```json\n(\{[^\n]*\})\n```\n\n```text\n(.*?)\n```\n", PAGE, re.DOTALL
)
REFUSED = re.findall(r"^\| `(\{.*)` \| (D\d+) \|$", PAGE, re.MULTILINE)
RECIPE = """\
version: 1
name: formats
model: {name_or_path: builtin:tiny}
lora: {r: 16}
dataset: {train: rows.jsonl}
compute: {executor: local, gpu: none}
volumes: {/outputs: formats}
output: {dir: /outputs/formats}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*words: str) -> Result:
    return CliRunner().invoke(cli, [*words])


def test_the_page_has_examples_of_all_forms_and_rows_that_are_refused() -> None:
    assert len(EXAMPLES) == 12
    assert len(REFUSED) == 7


@pytest.mark.parametrize(("setting", "row", "shown"), EXAMPLES)
def test_an_example_is_shown_as_the_page_has_it(setting: str, row: str, shown: str, folder: Path) -> None:
    (folder / "rows.jsonl").write_text(row + "\n", "utf-8")
    settings = [word for one in setting.split() for word in ("--set", one)]
    printed = said("data", "show", "recipe.yaml", "--row", "1", *settings).output
    assert printed.partition("learnt from\n\n")[2].strip("\n") == shown


@pytest.mark.parametrize(("row", "code"), REFUSED)
def test_a_row_is_refused_by_the_code_that_the_page_names(row: str, code: str, folder: Path) -> None:
    (folder / "rows.jsonl").write_text(row + "\n", "utf-8")
    assert f"error[{code}]" in said("validate", "recipe.yaml", "--offline").output


@pytest.mark.parametrize(
    "name",
    [
        "rows.jsonl",
        "rows.json",
        "ROWS.JSONL",
        "rows.csv",
        "rows.tsv",
        "rows.jsonl.gz",
        "rows.jsonl.zst",
        "rows.parquet",
    ],
)
def test_each_kind_of_file_gives_the_same_rows(name: str, folder: Path) -> None:
    write(folder / name)
    printed = said("data", "show", "recipe.yaml", "--row", "2", "--set", f"dataset.train={name}").output
    assert printed.partition("learnt from\n\n")[2].strip("\n") == "two is⟦ 2<|endoftext|>⟧"


def write(path: Path) -> None:
    """Two rows of prompt and completion, in the form that the name says."""
    rows = [{"prompt": "one is", "completion": " 1"}, {"prompt": "two is", "completion": " 2"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    match path.name.lower().partition(".")[2]:
        case "json":
            path.write_text(json.dumps(rows), "utf-8")
        case "csv":
            path.write_text("prompt,completion\none is, 1\ntwo is, 2\n", "utf-8")
        case "tsv":
            path.write_text("prompt\tcompletion\none is\t 1\ntwo is\t 2\n", "utf-8")
        case "jsonl.zst":
            path.write_bytes(bytes(pyarrow.Codec("zstd").compress(lines.encode())))
        case "parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case _:
            path.write_text(lines, "utf-8")


def test_a_text_a_line_is_a_row_a_line(folder: Path) -> None:
    (folder / "rows.txt").write_text("one\n\ntwo is 2\n", "utf-8")
    printed = said("data", "show", "recipe.yaml", "--row", "2", "--set", "dataset.train=rows.txt").output
    assert printed.partition("learnt from\n\n")[2].strip("\n") == "t⟦wo is 2<|endoftext|>⟧"


def test_the_sign_of_a_table_is_said(folder: Path) -> None:
    (folder / "rows.csv").write_text("prompt;completion\none, is;1\n", "utf-8")
    assert "divided by    ;" in said("data", "show", "recipe.yaml", "--set", "dataset.train=rows.csv").output
