"""The same row comes out of every kind of file, and what is no row is named by its line."""

import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sftrun.rows.raw import find, tables
from sftrun.rows.raw.broken import Broken
from sftrun.rows.raw.read import Stretch, read, stretches, whole

ROWS: list[dict[str, Any]] = [{"prompt": "a,b", "completion": "c"}, {"prompt": "d", "completion": 'e"f'}]


def rows_of(path: Path) -> list[Any]:
    return [row for part in stretches(path) for _, row in read(part) if row is not None]


def broken_in(path: Path) -> list[Broken]:
    return [row for row in rows_of(path) if isinstance(row, Broken)]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def zstd(data: bytes) -> bytes:
    import pyarrow

    return bytes(pyarrow.Codec("zstd").compress(data))


def write(path: Path) -> Path:
    import pyarrow
    import pyarrow.parquet

    if path.suffix.lower() == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    kind = find.kind(path)
    text = 'prompt,completion\n"a,b",c\nd,"e""f"\n' if kind == ".csv" else lines(ROWS)
    text = 'prompt\tcompletion\na,b\tc\nd\t"e""f"\n' if kind == ".tsv" else text
    text = json.dumps(ROWS) if kind == ".json" else text
    packings: dict[str | None, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd, None: bytes}
    path.write_bytes(packings[find.packing(path)](text.encode()))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "r.jsonl",
        "r.JSONL",
        "r.json",
        "r.csv",
        "r.parquet",
        "r.PARQUET",
        "r.jsonl.gz",
        "r.json.gz",
        "r.csv.GZ",
        "r.tsv",
        "r.jsonl.zst",
        "r.csv.zst",
    ],
)
def test_all_kinds_of_files_give_the_same_rows(name: str, tmp_path: Path) -> None:
    assert rows_of(write(tmp_path / name)) == ROWS


def test_each_line_of_a_text_that_is_not_blank_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(b"\xef\xbb\xbfone\r\n\n  two \nthree")
    assert list(whole(tmp_path / "r.txt")) == [
        (1, {"text": "one"}),
        (2, None),
        (3, {"text": "  two "}),
        (4, {"text": "three"}),
    ]
    (tmp_path / "r.txt").write_bytes(b"one\n\xff\n")
    assert broken_in(tmp_path / "r.txt") == [
        Broken(str(tmp_path / "r.txt"), 2, "syntax", "byte 1 is not UTF-8"),
    ]


def test_texts_beside_other_data_are_notes(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("a\n")
    assert [path.name for path in find.find(".", tmp_path)] == ["a.txt", "b.txt"]
    (tmp_path / "c.jsonl").write_text("{}\n")
    assert [path.name for path in find.find(".", tmp_path)] == ["c.jsonl"]
    assert [path.name for path in find.find("*.txt", tmp_path)] == ["a.txt", "b.txt"]


def test_signs_in_quotes_do_not_divide_a_table(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('"prompt, or question";completion\na;b\n')
    assert rows_of(tmp_path / "r.csv") == [{"prompt, or question": "a", "completion": "b"}]
    assert tables.divided_by(tmp_path / "r.csv") == ";"


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_a_table_may_be_divided_by_another_sign(sign: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"prompt{sign}completion\na, b{sign}c\n")
    assert rows_of(tmp_path / "r.csv") == [{"prompt": "a, b", "completion": "c"}]


def test_a_list_in_a_file_of_lines_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(ROWS))
    assert rows_of(tmp_path / "r.jsonl") == ROWS


def test_lines_that_are_lists_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('[1]\n{"text": "a"}\n')
    assert [(found.line, found.kind) for found in broken_in(tmp_path / "r.jsonl")] == [(1, "form")]


@pytest.mark.parametrize("text", ['{"text": "a \\ud83d"}', '{"text\\ud83d": "a"}', '{"m": [{"c": "\\uDFFF"}]}'])
def test_half_of_a_character_is_a_fault_at_its_line_wherever_it_stands(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"text": "\\ud83d\\ude00"}\n' + text + "\n")
    (found,) = broken_in(tmp_path / "r.jsonl")
    assert (found.line, found.kind) == (2, "syntax")
    assert "half of a character" in found.message
    (tmp_path / "r.json").write_text(f"[{text}]")
    assert "half of a character" in broken_in(tmp_path / "r.json")[0].message


def test_bytes_that_are_no_utf8_are_named_also_where_json_would_take_them(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b'{"text": "\xed\xa0\xbd"}\n{"text": "\xff"}\n')
    assert [found.line for found in broken_in(tmp_path / "r.jsonl")] == [1, 2]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(ROWS).encode())
    assert rows_of(tmp_path / "r.jsonl") == ROWS


def test_json_too_deep_for_a_reader_is_a_broken_line(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    assert broken_in(tmp_path / "r.jsonl")[0].line == 1


def test_nulls_that_fill_up_parquet_s_structs_are_no_values(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"tools": [{"name": "a", "args": {"x": 1}}]}, {"tools": [{"name": "b", "args": {"when": "now"}}]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    assert rows_of(tmp_path / "r.parquet") == rows


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    (tmp_path / "r.csv").write_text("text,text\na,b\n")
    for name in ("r.parquet", "r.csv"):
        assert "`text`" in broken_in(tmp_path / name)[0].message


def test_a_date_that_python_has_not_is_a_broken_row(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    far = pyarrow.array([10**9], pyarrow.int32()).cast(pyarrow.date32())
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([far], names=["when"]), tmp_path / "r.parquet")
    assert broken_in(tmp_path / "r.parquet")[0].kind == "syntax"
    near = pyarrow.array([date(2026, 1, 1)])
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([near], names=["when"]), tmp_path / "r.parquet")
    assert rows_of(tmp_path / "r.parquet") == [{"when": date(2026, 1, 1)}]


@pytest.mark.parametrize("name", ["r.jsonl.gz", "r.json.gz", "r.csv.gz", "r.jsonl.zst", "r.csv.zst"])
def test_a_damaged_packed_file_is_said(name: str, tmp_path: Path) -> None:
    whole = write(tmp_path / name).read_bytes()
    for damaged in (b"no gzip", whole[:-9]):
        (tmp_path / name).write_bytes(damaged)
        assert broken_in(tmp_path / name)


def test_a_folder_is_its_data_files_and_neither_hidden_nor_foreign_ones(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.JSON", ".hidden.jsonl", "notes.txt", "c.csv.gz"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.jsonl").write_text("")
    assert [path.name for path in find.find(str(tmp_path))] == ["a.JSON", "b.jsonl", "c.csv.gz"]


def test_a_glob_is_the_same_files_wherever_it_is_expanded(tmp_path: Path) -> None:
    for name in ("a.jsonl", ".b.jsonl", "c.txt", "sub/d.jsonl", ".cache/e.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for pattern, names in (("*", ["a.jsonl"]), ("**/*.jsonl", ["a.jsonl", "d.jsonl"]), (".cache/*", ["e.jsonl"])):
        here = find.find(pattern, tmp_path)
        assert [path.name for path in here] == names
        assert find.find(str(tmp_path / pattern)) == here


def test_a_stretch_of_a_file_is_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sftrun.rows.raw.read.STRETCH_BYTES", 17)
    rows = [{"text": "x" * size} for size in range(40)]
    (tmp_path / "r.jsonl").write_text(lines(rows))
    parts = list(stretches(tmp_path / "r.jsonl"))
    assert len(parts) > 20
    assert rows_of(tmp_path / "r.jsonl") == rows == [row for _, row in read(Stretch(str(tmp_path / "r.jsonl")))]
    assert [line for line, _ in whole(tmp_path / "r.jsonl")] == list(range(1, 41))
