"""`import` as one calls it: what it writes, what it says, and when it writes nothing."""

from pathlib import Path

import pytest

from tests.cli.test_validate import sftrun

AXOLOTL = """\
base_model: Qwen/Qwen2.5-0.5B-Instruct
datasets: [{path: rows.jsonl, type: alpaca}]
learning_rate: 0.0001
save_steps: 100
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "axolotl.yaml").write_text(AXOLOTL)
    return tmp_path / "axolotl.yaml"


def test_stdout_has_the_recipe_and_stderr_what_is_to_fill_in(source: Path) -> None:
    code, done = sftrun("import", source)

    assert code == 0
    assert done.stdout.startswith("# Imported from axolotl.yaml, a file of axolotl.\nversion: 1\n")
    assert "to fill in: `volumes`" in done.stderr


def test_a_difference_is_an_error_at_its_line_and_nothing_is_written(source: Path) -> None:
    source.write_text(AXOLOTL + "loraplus_lr_ratio: 16\n")
    code, done = sftrun("import", source, "-o", source.parent / "recipe.yaml")

    assert code == 1
    assert done.stdout == ""
    assert f"--> {source}:5:1" in done.stderr
    assert done.stderr.splitlines()[-1] == f"{source}: 1 place; nothing is written"
    assert not (source.parent / "recipe.yaml").exists()


def test_lossy_writes_the_recipe_with_the_difference_as_a_comment(source: Path) -> None:
    source.write_text(AXOLOTL + "loraplus_lr_ratio: 16\n")
    code, done = sftrun("import", source, "--lossy")

    assert code == 0
    assert "#   loraplus_lr_ratio: 16 (line 5: one learning rate for all)" in done.stdout
    assert "the run will be another in 1 place" in done.stderr


def test_what_is_no_supervised_fine_tuning_is_refused_lossy_or_not(source: Path) -> None:
    source.write_text(AXOLOTL + "rl: dpo\n")
    code, done = sftrun("import", source, "--lossy")

    assert (code, done.stdout) == (1, "")
    assert "error[I101]: `rl: dpo`" in done.stderr


def test_a_recipe_that_would_not_be_valid_is_not_written(source: Path) -> None:
    source.write_text(AXOLOTL.replace("0.0001", "-1"))
    code, done = sftrun("import", source)

    assert (code, done.stdout) == (1, "")
    assert "learning_rate" in done.stderr


def test_a_chat_template_is_written_beside_the_recipe(source: Path) -> None:
    source.write_text(AXOLOTL.replace("alpaca", "chat_template") + 'chat_template_jinja: "{{ messages }}"\n')

    assert sftrun("import", source)[0] == 1
    assert sftrun("import", source, "-o", source.parent / "recipe.yaml")[0] == 0
    assert (source.parent / "chat_template.jinja").read_text() == "{{ messages }}"


def test_nothing_is_written_where_one_of_the_files_is_there_already(source: Path) -> None:
    source.write_text(AXOLOTL.replace("alpaca", "chat_template") + 'chat_template_jinja: "{{ messages }}"\n')
    (source.parent / "chat_template.jinja").write_text("mine")

    assert sftrun("import", source, "-o", source.parent / "recipe.yaml")[0] == 1
    assert not (source.parent / "recipe.yaml").exists()
    assert (source.parent / "chat_template.jinja").read_text() == "mine"
