"""Prepared data: the same bytes however made, whole or not there, made once, gone on with after a kill."""

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import pytest
from datasets import Dataset

from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, ModelSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.failures import JobFailure
from sftrun.job.prepare import arrow_bins, prepared, row_tokenizer, shards, source_rows
from sftrun.job.prepare.learnable import label
from sftrun.job.prepare.prepared import Prepared
from sftrun.job.prepare.shards import Crew
from sftrun.job.supervise import preparer
from sftrun.rows.labels import Labeller
from sftrun.rows.tokenizer import Tokens
from tests import patience, steps
from tests.job import tiny

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def tokens(model: Path) -> Tokens:
    return row_tokenizer.of_model(ModelSpec(name_or_path=str(model)), RowRules())


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the rows, and as many shards."""
    monkeypatch.setattr(shards, "ROWS", shards.ROWS // 10)
    monkeypatch.setattr(shards, "PACKED_ROWS", shards.PACKED_ROWS // 10)


def job(folder: Path, model: Path, rows: list[dict[str, str]], **trainer: Any) -> JobSpec:
    folder.mkdir(exist_ok=True)
    dataset = DatasetSpec(train=(DataSource(files=(str(tiny.write_rows(folder / "rows.jsonl", rows)),)),))
    return tiny.make_job(folder, model, folder / "rows.jsonl", dataset=dataset, trainer=trainer)


def make(spec: JobSpec, tokens: Tokens, processes: int = 1) -> Prepared:
    return prepared.make(spec, tokens, prepared.folder(spec, tokens), Crew(processes))


def columns(found: Dataset) -> dict[str, Any]:
    return found[:]


@pytest.mark.usefixtures("small_shards")
def test_several_processes_write_the_bytes_of_one(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    rows = tiny.make_rows(2 * shards.ROWS + 7)
    files = [make(job(tmp_path / str(count), model, rows), tokens, count).folder / "train.arrow" for count in (1, 3)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_stands_is_what_was_tokenised_in_the_rows_order(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, tiny.make_rows(shards.ROWS + 7))
    made, rows = make(spec, tokens), source_rows.of_source(spec.dataset.train[0], spec.rows)
    whole = label(rows.rows, rows.places, Labeller(spec.rows, rows.form, spec.trainer.max_length, tokens))
    assert columns(made.train()) == {
        "input_ids": [list(ids) for ids in whole.input_ids],
        "labels": [list(labels) for labels in whole.labels],
    }
    counts = made.marker.train.counts
    assert (counts.rows, counts.tokens, counts.learnt_tokens) == (len(whole), whole.tokens, whole.learnt_tokens)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.slow
def test_bins_hold_each_row_once_and_whole_whoever_packs(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    rows = tiny.make_rows(shards.PACKED_ROWS + 150)
    packed = make(job(tmp_path / "packed", model, rows, packing=True, max_length=1000), tokens, 2)
    alone = make(job(tmp_path / "alone", model, rows, packing=True, max_length=1000), tokens, 1)
    plain = make(job(tmp_path / "plain", model, rows, max_length=1000), tokens, 2)
    assert packed.marker.is_packed
    assert (packed.folder / "train.arrow").read_bytes() == (alone.folder / "train.arrow").read_bytes()
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for one in packed.train():
        assert sum(one["seq_lengths"]) == len(one["input_ids"]) <= 1000
        ends = list(accumulate(one["seq_lengths"], initial=0))
        found += [tuple(tuple(one[name][a:b]) for name in ("input_ids", "labels")) for a, b in pairwise(ends)]
    expected = columns(plain.train())
    assert sorted(found) == sorted(
        (tuple(ids), tuple(labels)) for ids, labels in zip(expected["input_ids"], expected["labels"], strict=True)
    )
    assert packed.marker.train.counts == plain.marker.train.counts


@pytest.mark.slow
def test_bins_are_as_mixed_as_the_rows_and_all_but_full() -> None:
    draw = random.Random(0)
    lengths = sorted(min(int(draw.lognormvariate(4.8, 0.8)) + 8, 1900) for _ in range(20_000))
    packed = arrow_bins.best_fit(lengths, 2048, 0)
    assert sum(lengths) / (len(packed) * 2048) > 0.995
    spread = mean(pstdev(lengths[row] for row in one) for one in packed)
    assert spread > 0.85 * pstdev(lengths)
    decreasing = arrow_bins.best_fit(lengths[::-1], 2048, None)
    assert mean(pstdev(lengths[::-1][row] for row in one) for one in decreasing) < 0.5 * pstdev(lengths)


def test_rows_that_are_not_to_be_shuffled_keep_near_their_order() -> None:
    assert arrow_bins.best_fit([5, 5, 3, 7, 2, 4], 10, None) == [[0, 1], [2, 3], [4, 5]]


def test_dropped_and_cut_rows_are_said_each_time(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    rows = [{"prompt": "p" * 20, "completion": "c"}, {"prompt": "p", "completion": "c" * 20}]
    spec = job(tmp_path, model, rows, max_length=10)
    first, second = list(make(spec, tokens).remarks(10)), list(make(spec, tokens).remarks(10))
    assert first == second
    assert first[0] == "2 of 2 rows were cut at `trainer.max_length` 10"
    assert first[1].startswith("1 of 2 rows have nothing to learn from")
    assert first[1].endswith("rows.jsonl:1)")


def test_the_first_dropped_row_is_named_in_whichever_shard_it_lies(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    rows = [{"prompt": "p", "completion": "c"}] * (2 * shards.ROWS)
    rows[shards.ROWS + 3 :] = [{"prompt": "p" * 300, "completion": "c"}] * (shards.ROWS - 3)
    made = make(job(tmp_path, model, rows), tokens, 2)
    assert str(made.marker.train.first_dropped).endswith(f"rows.jsonl:{shards.ROWS + 4}")


def test_a_run_with_every_label_masked_fails_each_time(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, [{"prompt": "p" * 20, "completion": "c"}], max_length=10)
    for _ in range(2):
        with pytest.raises(JobFailure, match="every label is masked") as caught:
            make(spec, tokens)
        assert caught.value.kind == "data"


def test_what_stands_is_made_again_when_a_byte_of_it_is_gone(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, tiny.make_rows(20))
    first = make(spec, tokens)
    assert not first.was_ready
    assert make(spec, tokens).was_ready
    file = first.folder / "train.arrow"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert prepared.find(first.folder) is None
    assert not make(spec, tokens).was_ready
    assert file.read_bytes() == whole


def changed(spec: JobSpec, section: str, **values: Any) -> JobSpec:
    return steps.changed(spec, {section: getattr(spec, section).model_copy(update=values)})


CHANGES: dict[str, Callable[[JobSpec], JobSpec]] = {
    "length": lambda spec: changed(spec, "trainer", max_length=99),
    "packing": lambda spec: changed(spec, "trainer", packing=True),
    "what is learnt": lambda spec: changed(spec, "rows", completion_only=False),
    "template": lambda spec: changed(spec, "rows", instruction_template="plain"),
    "held out": lambda spec: changed(spec, "dataset", eval_fraction=0.5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_a_token_decides_the_place(name: str, model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, tiny.make_rows(20))
    assert prepared.folder(CHANGES[name](spec), tokens) != prepared.folder(spec, tokens)


def test_another_seed_or_rate_finds_the_same_data(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, tiny.make_rows(20))
    other = changed(spec, "trainer", seed=8, learning_rate=1.0, num_train_epochs=3.0)
    assert prepared.folder(other, tokens) == prepared.folder(spec, tokens)


def test_other_content_and_another_template_of_the_tokenizers_have_their_own_place(
    model: Path, tokens: Tokens, tmp_path: Path
) -> None:
    spec = job(tmp_path, model, tiny.make_rows(20))
    place = prepared.folder(spec, tokens)
    rules = RowRules(chat_template=tiny.UNMARKED_TEMPLATE)
    other = row_tokenizer.of_model(ModelSpec(name_or_path=str(model)), rules)
    assert prepared.folder(spec, other) != place
    tiny.write_rows(tmp_path / "rows.jsonl", tiny.make_rows(21))
    assert prepared.folder(spec, tokens) != place


@pytest.mark.slow
def test_a_killed_preparation_is_gone_on_with_and_its_shards_stay(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, tiny.make_rows(16 * shards.ROWS))
    place = prepared.folder(spec, tokens)
    partial = place.with_name(f"{place.name}.partial")
    process = preparer.start(spec)
    _wait_for(lambda: len(list(partial.glob("train-*.arrow"))) > 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = list(partial.glob("train-*.arrow"))
    assert 3 < len(left) < 16
    # a shard that can be told from what would be made in its place
    short = make(job(tmp_path / "short", model, tiny.make_rows(5)), tokens)
    _as_shard(short, spec, tokens, left[0])
    made = make(spec, tokens)
    assert made.marker.train.counts.rows == 15 * shards.ROWS + 5
    assert sorted(path.name for path in made.folder.iterdir()) == ["prepared.json", "texts.json", "train.arrow"]


def _as_shard(made: Prepared, spec: JobSpec, tokens: Tokens, path: Path) -> None:
    source = DataSource(files=(str(made.folder.parent.parent.parent / "rows.jsonl"),))
    rows = source_rows.of_source(source, spec.rows)
    labeller = Labeller(spec.rows, rows.form, spec.trainer.max_length, tokens)
    (shard,), _ = shards.tokenise(rows, labeller, path.with_name("other"), Crew())
    shard.replace(path)


def test_an_empty_shard_as_a_lost_power_supply_leaves_it_is_made_again(
    model: Path, tokens: Tokens, tmp_path: Path
) -> None:
    spec = job(tmp_path, model, tiny.make_rows(20))
    place = prepared.folder(spec, tokens)
    partial = place.with_name(f"{place.name}.partial")
    partial.mkdir(parents=True)
    (partial / "train-00000.arrow").touch()
    assert make(spec, tokens).marker.train.counts.rows == 20


@pytest.mark.slow
def test_of_two_at_once_one_makes_them_and_both_have_them(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    spec = job(tmp_path, model, tiny.make_rows(5 * shards.ROWS))
    processes = [preparer.start(spec) for _ in range(2)]
    for process in processes:
        preparer.follow(process)
    found = prepared.find(prepared.folder(spec, tokens))
    assert found is not None
    assert found.marker.train.counts.rows == 5 * shards.ROWS
    assert [path.name for path in found.folder.parent.iterdir() if path.is_dir()] == [found.folder.name]


def test_a_process_tells_what_stopped_it(model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path, model, [{"text": "x"}, {"txt": "y"}])
    with pytest.raises(JobFailure, match=r"rows\.jsonl:2: no `text`") as caught:
        preparer.follow(preparer.start(spec))
    assert caught.value.kind == "data"


def test_a_stop_ends_the_process(model: Path, tmp_path: Path) -> None:
    process = preparer.start(job(tmp_path, model, tiny.make_rows(20)))

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        preparer.follow(process, stop)
    assert process.returncode == -signal.SIGKILL


def test_a_forked_process_that_dies_is_said() -> None:
    def die(index: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(JobFailure, match="was killed"):
        list(Crew(2).each(die, 4))


def test_what_nobody_used_for_a_month_goes(model: Path, tokens: Tokens, tmp_path: Path) -> None:
    old = make(job(tmp_path, model, tiny.make_rows(20)), tokens)
    os.utime(old.folder / prepared.MARKER, (0, time.time() - 31 * 86_400))
    spec = job(tmp_path, model, tiny.make_rows(21))
    new = make(spec, tokens)
    assert new.folder.is_dir()
    assert not old.folder.exists()


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
