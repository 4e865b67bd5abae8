"""`sftrun data show`: what a person sees of rows, through the real command line."""

import json
from pathlib import Path

import pytest

from sftrun.cli.main import main
from tests.rows.tokenizers_for_tests import byte_level, save

ROWS = [{"instruction": f"What is {number}?", "input": "", "output": f"It is {number}."} for number in range(40)]
RECIPE = """\
version: 1
name: shown
model: {name_or_path: ./model}
dataset: {train: train.jsonl, eval: val.jsonl}
trainer: {max_length: 512, num_train_epochs: 1}
compute: {executor: local}
volumes: {/data: store}
output: {dir: /data/out}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(byte_level(), tmp_path / "model")
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:3]))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_row_is_shown_with_what_is_learnt_between_marks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--row", "8"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("row 8 of dataset.train (train.jsonl, line 8): ")
    assert "### Instruction:\nWhat is 7?\n\n### Response:\n⟦It is 7.<|endoftext|>⟧" in shown


def test_what_is_cut_off_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--row", "1", "--set", "trainer.max_length=20"]) == 0
    shown = capsys.readouterr().out
    assert "0 learnt from" in shown
    assert "… cut here: " in shown


def test_of_a_row_that_keeps_its_end_the_end_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("--set", "trainer.max_length=20", "--set", "trainer.extra.truncation_mode=keep_end")
    assert main(["data", "show", "recipe.yaml", "--row", "1", *changes]) == 0
    shown = capsys.readouterr().out
    assert "… cut here: " in shown
    assert shown.endswith("⟦It is 0.<|endoftext|>⟧\n")


def test_lengths_are_shown_where_no_row_has_anything_to_learn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--set", "trainer.max_length=8"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("dataset.train: 40 rows (instruction), 0 tokens\n")
    assert "█" in shown


def test_without_a_row_all_rows_are_summed_up_with_a_histogram(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", "recipe.yaml"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("dataset.train: 40 rows (instruction), ")
    assert "learnt from" in shown
    assert "█" in shown
    assert "row 1 of dataset.train" in shown


def test_eval_rows_that_stand_in_train_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--split", "eval"]) == 0
    said = capsys.readouterr()
    assert "dataset.eval: 3 rows" in said.out
    assert "D109" in said.err
    assert "the training data hold 3 of 3 rows (100%) of the eval data" in said.err


def test_machines_get_ids_labels_and_spans(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--row", "1", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["input_ids"]) == len(shown["labels"])
    assert [span["text"] for span in shown["spans"] if span["learnt"]] == ["It is 0.<|endoftext|>"]


def test_machines_get_the_facts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 40


def test_a_row_that_is_not_there_is_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "recipe.yaml", "--row", "41"]) == 2
    assert "`dataset.train` has no row 41" in capsys.readouterr().err


def test_without_a_tokenizer_rows_are_counted_and_the_row_says_why_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model" / "tokenizer.json").unlink()
    assert main(["data", "show", "recipe.yaml"]) == 1
    said = capsys.readouterr()
    assert "lengths not known: " in said.out
    assert "tokenizer.json does not exist" in said.err


def test_missing_rows_are_said_with_the_next_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.jsonl").unlink()
    assert main(["data", "show", "recipe.yaml"]) == 1
    assert "train.jsonl" in capsys.readouterr().err


TALKS = [
    {"messages": [{"role": "user", "content": f"Q{n}?"}, {"role": "assistant", "content": f"A{n}."}]} for n in "AB"
]


def write_talks(folder: Path) -> None:
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TALKS))
    (folder / "val.jsonl").write_text(json.dumps(TALKS[0]) + "\n")


def test_a_chat_template_may_be_a_file_beside_the_recipe_or_a_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_talks(folder)
    (folder / "own.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    for name, shown in (
        ("own.jinja", "<user>QA?⟦<assistant>AA.⟧"),
        ("qwen2_5", "You are Qwen"),
    ):
        assert main(["data", "show", "recipe.yaml", "--row", "1", "--set", f"dataset.chat_template={name}"]) == 0
        assert shown in capsys.readouterr().out


def test_a_chat_template_that_is_nowhere_is_an_error_with_the_nearest_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_talks(folder)
    assert main(["validate", "recipe.yaml", "--set", "dataset.chat_template=quen3"]) == 1
    assert "did you mean `qwen3`?" in capsys.readouterr().out


def test_an_end_token_is_one_answer_wherever_it_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("dataset.eos_token", "trainer.extra.eos_token"):
        assert main(["data", "show", "recipe.yaml", "--row", "8", "--set", f"{key}=<|im_end|>"]) == 0
        assert "⟦It is 7.<|im_end|>⟧" in capsys.readouterr().out
