"""Facts of data files: counted line by line, whatever stands in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract.row_rules import RowRules
from sftrun.errors import Problem
from sftrun.facts.data import count
from sftrun.facts.data.count import Asked, Found, data_facts
from sftrun.facts.values import DataFacts
from sftrun.rows.raw import packed
from sftrun.rows.raw.find import Files
from tests.rows.tokenizers_for_tests import byte_level, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(byte_level(), tmp_path_factory.mktemp("model"))


def files(*paths: Path, sha256: str | None = None) -> Files:
    return Files(paths=tuple(map(str, paths)), sha256=sha256)


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def look(found: Files, longest: int, folder: Path | None, **more: Any) -> Found:
    (only,), _ = data_facts([Asked(found, RowRules())], [], longest, folder, **more)
    return only


def facts_of(path: Path, folder: Path | None, *, longest: int = 1024, **more: Any) -> DataFacts:
    found = look(files(path), longest, folder, **more)
    assert isinstance(found, DataFacts)
    return found


def row(number: int) -> dict[str, str]:
    return {"instruction": f"What is {number}?", "input": "", "output": f"It is {number}."}


def test_rows_lengths_and_learnt_tokens_are_counted(tmp_path: Path, folder: Path) -> None:
    found = facts_of(written(tmp_path / "a.jsonl", [row(number) for number in range(100)]), folder)
    assert (found.format, found.rows, found.rows_cut) == ("instruction", 100, 0)
    assert found.tokens is not None
    assert found.learnt_tokens is not None
    assert 0 < found.learnt_tokens < found.tokens
    assert found.tokens == sum(length * rows for length, rows in found.length_counts)
    assert found.percentiles["50"] <= found.percentiles["100"]


def test_a_broken_line_is_named_by_its_number(tmp_path: Path, folder: Path) -> None:
    found = facts_of(written(tmp_path / "a.jsonl", [row(1), "", '{"instruction": ', row(2), "[1]", "nul"]), folder)
    assert (found.rows, found.rows_broken, found.rows_misshapen) == (2, 2, 1)
    assert [(fault.line, fault.kind) for fault in found.faults] == [(3, "syntax"), (5, "form"), (6, "syntax")]


def test_lines_are_numbered_through_all_stretches(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sftrun.rows.raw.read.STRETCH_BYTES", 97)
    rows = [row(number) if number != 41 else "oops" for number in range(1, 61)]
    found = facts_of(written(tmp_path / "a.jsonl", [*rows, row(7)]), folder)
    assert (found.rows, found.rows_broken, found.rows_duplicate) == (60, 1, 1)
    assert [(fault.line, fault.message) for fault in found.faults if fault.kind == "duplicate"] == [
        (61, "the same as line 7")
    ]
    assert [fault.line for fault in found.faults if fault.kind == "syntax"] == [41]


def test_two_processes_count_what_one_counts(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.jsonl", [row(number) for number in range(3000)])
    one = facts_of(path, folder, processes=1)
    monkeypatch.setattr("sftrun.rows.raw.read.STRETCH_BYTES", 50_000)
    monkeypatch.setattr(count, "WORTH_TWO_PROCESSES", 0)
    heard: list[tuple[int, int]] = []
    assert facts_of(path, folder, processes=2, progress=lambda *at: heard.append(at)) == one
    assert heard[-1][0] == heard[-1][1]


def test_unchanged_data_are_not_read_again(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.jsonl", [row(1), row(1), row(2)])
    train, evaluation = files(path, sha256="a"), files(written(tmp_path / "b.jsonl", [row(2), row(3)]), sha256="b")
    first = data_facts(
        [Asked(train, RowRules())], [Asked(evaluation, RowRules())], 1024, folder, cache_dir=tmp_path / "cache"
    )
    monkeypatch.setattr(count, "_counted", None)
    assert (
        data_facts(
            [Asked(train, RowRules())], [Asked(evaluation, RowRules())], 1024, folder, cache_dir=tmp_path / "cache"
        )
        == first
    )


def test_what_a_damaged_tokenizer_leaves_out_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    train = files(written(tmp_path / "a.jsonl", [row(1)]), sha256="a")
    found = look(train, 1024, tmp_path, cache_dir=tmp_path / "cache")
    assert isinstance(found, DataFacts)
    assert found.no_lengths is not None
    assert not (tmp_path / "cache").exists()


def test_other_settings_are_counted_anew(tmp_path: Path, folder: Path) -> None:
    train = files(written(tmp_path / "a.jsonl", [row(1)]), sha256="a")
    for longest in (10, 1000):
        found = look(train, longest, folder, cache_dir=tmp_path / "cache")
        assert isinstance(found, DataFacts)
        assert found.rows_cut == (longest == 10)


def test_eval_rows_that_stand_in_train_are_counted(tmp_path: Path, folder: Path) -> None:
    train = files(written(tmp_path / "a.jsonl", [row(1), row(2)]))
    evaluation = files(written(tmp_path / "b.jsonl", [row(3), row(2)]))
    _, (found,) = data_facts([Asked(train, RowRules())], [Asked(evaluation, RowRules())], 1024, folder)
    assert isinstance(found, DataFacts)
    assert found.rows_in_train == 1
    assert [fault.line for fault in found.faults if fault.kind == "in_train"] == [2]


def test_rows_whose_prompt_fills_max_length_have_nothing_to_learn(tmp_path: Path, folder: Path) -> None:
    found = facts_of(written(tmp_path / "a.jsonl", [row(1)]), folder, longest=20)
    assert (found.rows_cut, found.rows_nothing_learnt, found.learnt_tokens, found.tokens) == (1, 1, 0, 0)
    assert found.faults[0].message.startswith("the prompt alone has ")


def test_without_a_tokenizer_rows_are_counted_and_the_reason_is_said(tmp_path: Path) -> None:
    found = facts_of(written(tmp_path / "a.jsonl", [row(1), row(1)]), None)
    assert (found.rows, found.rows_duplicate, found.tokens) == (2, 1, None)
    assert found.no_lengths == "the model's files are not on this machine"


@pytest.mark.parametrize(
    ("roles", "fault"),
    [
        (["user", "assistant"], None),
        (["system", "user", "assistant", "user", "assistant"], None),
        (["user", "assistant", "tool", "assistant"], None),
        (["assistant", "user"], "message 1 is `assistant` and comes first"),
        (["user", "user", "assistant"], "message 2 is `user` after `user`"),
        (["system", "user"], "the last message is `user`, not `assistant`"),
    ],
)
def test_roles_out_of_order_are_said(roles: list[str], fault: str | None, tmp_path: Path, folder: Path) -> None:
    messages = [{"role": role, "content": "a"} for role in roles]
    found = facts_of(written(tmp_path / "a.jsonl", [{"messages": messages}]), folder)
    assert [one.message for one in found.faults if one.kind == "roles"] == ([fault] if fault else [])


def test_a_template_without_a_generation_prompt_is_noticed(tmp_path: Path) -> None:
    never = save(
        byte_level(), tmp_path / "m", "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"
    )
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    assert facts_of(written(tmp_path / "a.jsonl", rows), never).template_asks is False


def test_a_template_that_refuses_a_row_is_a_fault_of_that_row(tmp_path: Path) -> None:
    strict = save(byte_level(), tmp_path / "m", "{{ raise_exception('only users speak here') }}")
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    found = facts_of(written(tmp_path / "a.jsonl", rows), strict)
    assert found.rows_unrenderable == 1
    assert found.faults[0].message == "the chat template refuses it: only users speak here"


def test_every_kind_of_file_holds_the_same_rows(tmp_path: Path, folder: Path) -> None:
    rows = [row(number) for number in range(5)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    lines = [",".join(rows[0]), *(f"{r['instruction']},{r['input']},{r['output']}" for r in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    expected = facts_of(written(tmp_path / "a.jsonl", rows), folder)
    for name in ("a.json", "a.csv"):
        found = facts_of(tmp_path / name, folder)
        assert (found.rows, found.tokens, found.learnt_tokens) == (5, expected.tokens, expected.learnt_tokens)


def test_parquet_is_read_where_pyarrow_is_there(tmp_path: Path, folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist([row(number) for number in range(5)]), tmp_path / "a.parquet")
    assert facts_of(tmp_path / "a.parquet", folder).rows == 5


def test_parquet_without_pyarrow_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(packed, "find_spec", lambda name: None)
    found = look(files(tmp_path / "a.parquet"), 1024, None)
    assert isinstance(found, Problem)
    assert found.help == "run `pip install pyarrow`"


def test_an_unknown_kind_of_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    found = look(files(tmp_path / "a.xlsx"), 1024, None)
    assert isinstance(found, Problem)
    assert found.message.endswith("is no kind of data that can be read")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"{", b"[", b'["a"]', b"\x00" * 50, b'{"text": "\xff"}\n', b"[" * 9999]
)
def test_whatever_stands_in_a_file_there_is_no_traceback(
    name: str, content: bytes, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    found = look(files(tmp_path / name), 1024, folder)
    assert isinstance(found, DataFacts | Problem)


def test_a_file_of_broken_lines_alone_has_them_counted(tmp_path: Path, folder: Path) -> None:
    found = facts_of(written(tmp_path / "a.jsonl", ["nope", "{"]), folder)
    assert (found.rows, found.rows_broken) == (0, 2)
