"""`sftrun data clean` and `data split`: new files of rows, and what became of each row."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from sftrun.cli.main import main
from sftrun.facts.data import cleaning

RECIPE = """\
version: 1
name: cleaned
model: {name_or_path: builtin:tiny}
lora: {r: 8}
dataset: {train: train.jsonl, eval: val.jsonl}
compute: {executor: local, gpu: none}
volumes: {/data: store}
output: {dir: /data/out}
"""
LONG = " ".join(f"word{number}" for number in range(80))
GOOD = [{"instruction": f"What is {number}?", "output": f"It is {number}.", "id": number // 3} for number in range(30)]
ROWS: list[Any] = [
    *GOOD,
    GOOD[2],
    {"instruction": "Say nothing.", "output": " \n"},
    {"instruction": "Count.", "output": 3},
    {"instruction": "Tell.", "output": LONG},
    {"instruction": "Tell.", "output": f"{LONG} more"},
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "train.jsonl").write_text(lines + "{broken\n")
    (tmp_path / "val.jsonl").write_text(json.dumps(GOOD[0]) + "\n")
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*GOOD, GOOD[0], GOOD[29]]))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "home"))
    return tmp_path


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def cleaned(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main(["data", "clean", "recipe.yaml", "-o", "clean.jsonl", "--format", "json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_broken_empty_or_twice_goes_and_the_rest_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("train.jsonl").read_bytes()
    told = cleaned(capsys)
    assert rows("clean.jsonl") == [*GOOD[1:], *ROWS[-2:]]
    assert (told["rows"], told["kept"]) == (36, 31)
    assert {reason: [one["line"] for one in found["first"]] for reason, found in told["dropped"].items()} == {
        "in_eval": [1],
        "duplicate": [31],
        "blank": [32],
        "misshapen": [33],
        "broken": [36],
    }
    assert Path("train.jsonl").read_bytes() == before


def test_every_row_that_goes_is_listed_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned(capsys, "--dropped", "dropped.jsonl")
    listed = rows("dropped.jsonl")
    assert [one["line"] for one in listed] == [1, 31, 32, 33, 36]
    assert listed[1]["why"] == "the same as line 3"
    assert all(Path(one["file"]).name == "train.jsonl" for one in listed)


def test_near_duplicates_go_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rensa")
    told = cleaned(capsys, "--near", "0.9")
    assert told["dropped"]["near_duplicate"]["first"][0]["why"].endswith("the same as line 34")
    assert rows("clean.jsonl") == [*GOOD[1:], ROWS[-2]]


def test_without_the_library_near_duplicates_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "LIBRARY", "no_such_library")
    assert main(["data", "clean", "recipe.yaml", "-o", "clean.jsonl", "--near", "0.9"]) != 0
    assert "pip install 'sftrun[clean]'" in capsys.readouterr().err
    assert not Path("clean.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train.jsonl", "is a file of the recipe's own rows"),
        ("./train.jsonl", "is a file of the recipe's own rows"),
        ("good.jsonl", "is there already"),
        ("clean.csv", "write `clean.jsonl`"),
    ],
)
def test_rows_are_never_written_over_rows(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in Path().glob("*.jsonl")}
    assert main(["data", "clean", "recipe.yaml", "-o", name]) == 2
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().glob("*.jsonl")} == before


def test_a_table_s_dates_are_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"text": "Census day.", "day": datetime.date(2020, 10, 1)}
    parquet.write_table(pyarrow.Table.from_pylist([row, row]), "table.parquet")
    cleaned(capsys, "--set", "dataset.train=table.parquet", "--set", "dataset.eval=null")
    assert rows("clean.jsonl") == [{"text": "Census day.", "day": "2020-10-01"}]


def test_an_interrupted_cleaning_leaves_no_half_file(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cleaning.judged

    def interrupted(*given: Any) -> Iterator[Any]:
        found = real(*given)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(cleaning, "judged", interrupted)
    before = sorted(Path().iterdir())
    assert main(["data", "clean", "recipe.yaml", "-o", "clean.jsonl"]) == 130
    assert sorted(path for path in Path().iterdir() if path.name != "home") == [p for p in before if p.name != "home"]


def divided(capsys: pytest.CaptureFixture[str], folder: str, *more: str) -> dict[str, Any]:
    command = ["data", "split", "recipe.yaml", "--set", "dataset.train=good.jsonl", "-o", folder, "--format", "json"]
    assert main([*command, *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_split_has_every_row_once_and_the_seed_decides(capsys: pytest.CaptureFixture[str]) -> None:
    told = divided(capsys, "a", "--eval", "0.2")
    assert (told["train"]["rows"], told["eval"]["rows"]) == (26, 6)
    assert sorted(row["output"] for name in ("a/train.jsonl", "a/eval.jsonl") for row in rows(name)) == sorted(
        row["output"] for row in rows("good.jsonl")
    )
    divided(capsys, "b", "--eval", "0.2")
    divided(capsys, "c", "--eval", "0.2", "--seed", "7")
    assert rows("a/eval.jsonl") == rows("b/eval.jsonl") != rows("c/eval.jsonl")


@pytest.mark.parametrize("seed", range(8))
def test_rows_that_say_the_same_or_belong_together_are_not_torn(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    divided(capsys, "parts", "--eval", "0.3", "--seed", str(seed), "--by", "id")
    train, evaluation = (
        {(row["id"], row["output"]) for row in rows(f"parts/{name}.jsonl")} for name in ("train", "eval")
    )
    assert evaluation
    assert not {number for number, _ in train} & {number for number, _ in evaluation}
    assert not {text for _, text in train} & {text for _, text in evaluation}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--by", "no"), "no column `no`"),
        (("--by", "input"), "no column `input`"),
        (("--set", "dataset.train=val.jsonl"), "can't be split"),
        (("--set", "dataset.train=train.jsonl"), "run `sftrun data clean` first"),
    ],
)
def test_what_can_t_be_split_is_said(more: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "split", "recipe.yaml", "--set", "dataset.train=good.jsonl", "--eval", "0.2", "-o", "parts"]
    assert main([*command, *more]) != 0
    assert words in capsys.readouterr().err
    assert not Path("parts").exists()
