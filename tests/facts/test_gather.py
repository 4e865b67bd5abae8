"""What `gather` finds on this machine for one recipe: its data, and what stands where it will write."""

from pathlib import Path

import pytest

from sftrun.cli.examine import Examined, examine_file
from sftrun.contract.output_marker import MARKER, OutputMarker

RECIPE = """\
version: 1
name: mine
model: {{name_or_path: builtin:tiny}}
lora: {{r: 16, lora_alpha: 16}}
dataset: {dataset}
trainer: {{max_steps: 60, max_length: 128}}
compute: {{executor: {executor}, gpu: {gpu}}}
volumes: {{/data: store}}
output: {{dir: /data/adapter}}
"""


THEIRS = OutputMarker(
    run_id="0a1b2c3d4e",
    name="theirs",
    base_model="builtin:tiny",
    revision=None,
    adapter=True,
    format="text",
    step=60,
    train_loss=1.5,
    memory_gb=0.0,
)


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTRUN_HOME", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)


def examined(tmp_path: Path, dataset: str, *, executor: str = "modal") -> Examined:
    file = tmp_path / "r.yaml"
    gpu = "none" if executor == "local" else "L4"
    file.write_text(RECIPE.format(dataset=dataset, executor=executor, gpu=gpu))
    return examine_file(file.name)


def codes(found: Examined) -> list[str]:
    return [one.code for one in found.diagnostics if one.code[0] in "DV"]


def leave(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "ledger" / "volumes" / "store" / "adapter"
    folder.mkdir(parents=True)
    (folder / MARKER).write_text(THEIRS.model_copy(update={"name": name}).model_dump_json())


@pytest.mark.parametrize("train", ["{hub: me/rows}", "/data/on-the-volume.jsonl"])
def test_rows_that_are_out_of_reach_are_not_taken_for_none(tmp_path: Path, train: str) -> None:
    (tmp_path / "eval.jsonl").write_text('{"text": "a b c"}\n')
    found = examined(tmp_path, f"{{train: {train}, eval: eval.jsonl}}")
    assert codes(found) == []
    assert found.gathered is not None
    assert found.gathered.facts.train is None
    assert found.gathered.facts.eval is not None


def test_a_missing_file_is_said_once_and_the_eval_data_are_still_looked_at(tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text('{"text": "a b c"}\n{"text": \n')
    assert codes(examined(tmp_path, "{train: tarin.jsonl, eval: eval.jsonl}")) == ["D101", "D102"]


def test_a_broken_line_is_shown_as_it_stands_in_its_file_named_from_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"\n')
    (found,) = [one for one in examined(tmp_path, "{train: data/a.jsonl}").diagnostics if one.code == "D102"]
    assert found.excerpt == '{"text": "b"'
    assert found.span is not None
    assert (found.span.file, found.span.line) == ("data/a.jsonl", 2)


def test_the_adapter_of_another_recipe_is_warned_of(tmp_path: Path) -> None:
    leave(tmp_path, "theirs")
    assert codes(examined(tmp_path, "{train: {hub: me/rows}}", executor="local")) == ["V106"]


def test_the_recipe_s_own_adapter_is_no_matter(tmp_path: Path) -> None:
    leave(tmp_path, "mine")
    assert codes(examined(tmp_path, "{train: {hub: me/rows}}", executor="local")) == []
