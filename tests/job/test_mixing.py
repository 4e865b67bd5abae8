"""Mixed sources: each row as often as its weight says, the same for a seed, spread evenly or in the list's order."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, ModelSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.prepare import mixing, prepared, row_tokenizer, shards
from sftrun.job.prepare.prepared import Prepared
from sftrun.job.prepare.shards import Crew
from sftrun.rows.labels import count_learnt
from sftrun.rows.tokenizer import Tokens
from tests.job import tiny

pytestmark = pytest.mark.filterwarnings("ignore")


def ordered(rows: list[int], weights: list[float], *, spread: bool = True, seed: int = 7) -> list[tuple[int, int]]:
    """(source, row) of each row of a mix."""
    mix = mixing.parts([[Path("unread")] for _ in rows], rows, weights, seed)
    return [
        (int(source), int(row))
        for block in mixing.order(mix, spread=spread)
        for source, row in zip(*block, strict=True)
    ]


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("block", [7, 20_000])
def test_whole_weights_take_each_row_so_often(block: int, spread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "BLOCK", block)
    taken = Counter(ordered([10, 5, 3], [1, 2, 3], spread=spread))
    assert taken == Counter(
        {
            (number, row): weight
            for number, (rows, weight) in enumerate(((10, 1), (5, 2), (3, 3)))
            for row in range(rows)
        }
    )


def test_a_fraction_takes_so_many_rows_once_more_by_the_seed() -> None:
    taken = Counter(row for source, row in ordered([100, 10], [1.25, 1]) if source == 0)
    assert sum(taken.values()) == 125
    assert sorted(taken.values()) == [1] * 75 + [2] * 25
    less = [row for source, row in ordered([100, 10], [0.3, 1]) if source == 0]
    assert len(set(less)) == len(less) == 30
    assert less == sorted(less)


def test_a_mix_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert ordered([100, 9], [0.5, 1]) == ordered([100, 9], [0.5, 1])
    assert ordered([100, 9], [0.5, 1]) != ordered([100, 9], [0.5, 1], seed=8)
    assert ordered([100, 9], [2, 1]) == ordered([100, 9], [2, 1], seed=8)


def test_rows_of_each_source_are_spread_evenly_and_keep_their_order() -> None:
    found = ordered([30, 10], [1, 1])
    assert [source for source, _ in found[:8]] == [0, 0, 1, 0, 0, 0, 1, 0]
    assert [row for source, row in found if source == 0] == list(range(30))
    for begin in range(0, 40, 8):
        assert 1 <= sum(source for source, _ in found[begin : begin + 8]) <= 3


def test_rows_that_are_not_shuffled_come_source_by_source() -> None:
    assert ordered([2, 2], [1, 2], spread=False) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 0), (1, 1)]


@pytest.fixture(scope="module")
def tokens(model: Path) -> Tokens:
    return row_tokenizer.of_model(ModelSpec(name_or_path=str(model)), RowRules())


def job(folder: Path, model: Path, weights: list[float], **changes: Any) -> JobSpec:
    """Sources of different forms."""
    names = ("a", "b", "c")
    written = (
        [{"prompt": f"a{n}", "completion": "x" * (1 + n % 7)} for n in range(60)],
        [{"question": f"b{n}", "answer": "y"} for n in range(20)],
        [{"text": f"c{n}"} for n in range(10)],
    )
    folder.mkdir(exist_ok=True)
    sources = tuple(
        DataSource(files=(str(tiny.write_rows(folder / f"{name}.jsonl", rows)),), weight=weight)
        for name, rows, weight in zip(names, written, weights, strict=False)
    )
    dataset = DatasetSpec(train=sources, **changes.pop("dataset", {}))
    rules = RowRules(instruction_template="{instruction}{output}")
    return tiny.make_job(folder, model, folder / "a.jsonl", dataset=dataset, rows=rules, trainer=changes)


def make(spec: JobSpec, tokens: Tokens, processes: int = 1) -> Prepared:
    return prepared.make(spec, tokens, prepared.folder(spec, tokens), Crew(processes))


def texts(found: Any, tokens: Tokens) -> list[str]:
    return [str(tokens.tokenizer.decode(row["input_ids"], skip_special_tokens=True)) for row in found]


def test_what_stands_is_the_mix(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    made = make(job(tmp_path, model, [1, 2, 0.5]), tokens)
    found = Counter(text[0] for text in texts(made.train(), tokens))
    assert found == {"a": 60, "b": 40, "c": 5}
    shares = made.summary().sources
    assert [(one.name, one.rows, one.share) for one in shares] == [
        ("a.jsonl", 60, 0.5714),
        ("b.jsonl", 40, 0.381),
        ("c.jsonl", 5, 0.0476),
    ]
    counts, rows = made.marker.train.counts, list(made.train())
    assert counts.rows == len(rows) == 105
    assert counts.tokens == sum(one.tokens for one in shares) == sum(len(row["input_ids"]) for row in rows)
    assert counts.learnt_tokens == sum(count_learnt(row["labels"]) for row in rows)


def test_a_source_without_a_weight_is_put_behind_the_one_before(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    made = make(job(tmp_path, model, [1, 1], dataset={"shuffle": False}), tokens)
    assert "".join(text[0] for text in texts(made.train(), tokens)) == "a" * 60 + "b" * 20


@pytest.mark.parametrize("packing", [False, True])
def test_several_processes_mix_the_bytes_of_one(
    packing: bool, model: Path, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS", 9)
    monkeypatch.setattr(mixing, "BLOCK", 16)
    monkeypatch.setattr(mixing, "REACH", 11)
    more = {"packing": True, "max_length": 64} if packing else {}
    one, two = (make(job(tmp_path / str(n), model, [1.5, 2], **more), tokens, n).folder for n in (1, 2))
    assert (one / "train.arrow").read_bytes() == (two / "train.arrow").read_bytes()


def test_rows_that_are_held_out_are_in_no_mix(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    made = make(job(tmp_path, model, [1, 3], dataset={"eval_fraction": 0.1}), tokens)
    held, trained = set(texts(made.evaluation(), tokens)), texts(made.train(), tokens)
    assert len(held) == made.eval_rows == 8
    assert held.isdisjoint(trained)
    assert len(trained) == 54 + 3 * 18


def test_sets_of_validation_rows_have_their_names(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    files = {name: str(tiny.write_rows(tmp_path / f"{name}.jsonl", [{"text": name}] * 3)) for name in ("x", "y")}
    sets = {name: DataSource(files=(file,), format="auto") for name, file in files.items()}
    made = make(job(tmp_path, model, [1, 1], dataset={"eval": sets}), tokens)
    assert {name: texts(found, tokens) for name, found in made.evaluation().items()} == {"x": ["x"] * 3, "y": ["y"] * 3}
    assert made.eval_rows == 6


def test_weights_and_the_seed_of_a_draw_decide_the_place(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    def place(weights: list[float], **trainer: Any) -> Path:
        return prepared.folder(job(tmp_path, model, weights, **trainer), tokens)

    assert place([1, 2]) != place([1, 1])
    assert place([1, 2], seed=1) == place([1, 2], seed=2)
    assert place([1, 0.5], seed=1) != place([1, 0.5], seed=2)


def test_a_table_is_taken_from_without_being_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "REACH", 4)
    lists = pyarrow.array([[n] for n in range(20)], pyarrow.list_(pyarrow.int32()))
    path = tmp_path / "rows.arrow"
    shards.write(path, shards.SCHEMA, [pyarrow.RecordBatch.from_arrays([lists, lists], schema=shards.SCHEMA)])
    mix = mixing.parts([[path]], [20], [1.5], 3)
    found = [row for batch in mixing.batches(mix, spread=True) for row in batch["input_ids"].to_pylist()]
    assert [row[0] for row in found] == [row for _, row in ordered([20], [1.5], seed=3)]
    assert (mix[0].tokens, mix[0].learnt) == (30, 0)
