"""The generators: the committed files are what they make, and the full sizes are made in seconds without overlap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import make_data
from tools.generators import census
from tools.generators.census import PLACES, YEARS, count_of
from tools.generators.infra import PRETRAINING, QUICKSTART

DATA = Path(__file__).parents[2] / "recipes" / "data"


@pytest.mark.parametrize("name", sorted(make_data.samples()))
def test_committed_file_is_what_the_generator_makes(name: str) -> None:
    made = make_data.jsonl(make_data.samples()[name], make_data.row_of(name))
    assert (DATA / name).read_text(encoding="utf-8") == made


def test_no_data_file_is_without_a_generator() -> None:
    assert {path.name for path in DATA.glob("*.jsonl")} == set(make_data.samples())


def test_quickstart_teaches_kinds_that_the_base_has_not_seen() -> None:
    assert not {kind.name for kind in PRETRAINING} & {kind.name for kind in QUICKSTART}


def test_quickstart_is_tested_on_questions_that_it_did_not_train_on() -> None:
    made = make_data.samples()
    names = ("quickstart-train.jsonl", "quickstart-eval.jsonl", "quickstart-test.jsonl")
    train, held_out, tested = ({(task.instruction, task.input) for task in made[name]} for name in names)
    assert (len(train), len(held_out), len(tested)) == (500, 80, 80)
    assert not train & held_out
    assert not (train | held_out) & tested


def test_test_rows_stand_in_no_training_data_of_the_full_size() -> None:
    tested = {(task.instruction, task.input) for task in make_data.samples()["inframind-test.jsonl"]}
    assert len(tested) == 400
    assert not tested & {(task.instruction, task.input) for task in make_data.infra("all", make_data.INFRA_ROWS)}


def test_another_seed_makes_other_rows() -> None:
    assert make_data.infra("all", 50, seed=1) != make_data.infra("all", 50, seed=2)
    assert make_data.infra("all", 50, seed=1) == make_data.infra("all", 50, seed=1)


def test_more_rows_than_there_are_is_refused_with_the_number_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = tuple(kind for kind in PRETRAINING if kind.name == "terraform-provider")
    monkeypatch.setitem(make_data.KINDS, "pretraining", provider)
    with pytest.raises(SystemExit, match="have 14 distinct tasks, 1000 were asked for"):
        make_data.infra("pretraining", 1000)


def test_messages_hold_the_same_tasks(tmp_path: Path) -> None:
    make_data.main(["infra", "--rows", "20", "--out", str(tmp_path / "a.jsonl")])
    make_data.main(["infra", "--rows", "20", "--form", "messages", "--out", str(tmp_path / "m.jsonl")])
    plain = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    chats = [json.loads(line)["messages"] for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [chat[1] for chat in chats] == [{"role": "assistant", "content": row["output"]} for row in plain]
    assert all(chat[0]["content"].startswith(row["instruction"]) for chat, row in zip(chats, plain, strict=True))


@pytest.mark.slow
def test_full_census_is_made_without_a_question_in_both_files(tmp_path: Path) -> None:
    make_data.main(["census", "--out", str(tmp_path / "train.jsonl"), "--held-out-to", str(tmp_path / "val.jsonl")])
    train, held_out = _questions(tmp_path / "train.jsonl"), _questions(tmp_path / "val.jsonl")
    assert (len(train), len(held_out)) == (192_733, 21_415)
    assert len(set(train) | set(held_out)) == 192_733 + 21_415
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.jsonl", "val.jsonl"]


def test_census_figures_agree_with_each_other() -> None:
    for place in PLACES:
        for year in YEARS:
            count = count_of(place, year)
            assert count.population == count.men + count.women
            assert 0 < count.children + count.aged < count.population
            assert 0 < count.alone < count.households < count.population


def test_census_rows_are_as_long_as_the_real_ones() -> None:
    letters = sorted(len(task.output) for task in census.rows(5_000, seed=1))
    mean = sum(letters) / len(letters)
    assert 200 < mean < 450  # 60 to 130 tokens of the 180, the rest is the prompt
    assert letters[2_500] < mean < letters[-1] / 4  # skewed, as lognormal lengths are


def _questions(path: Path) -> list[str]:
    return [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]
