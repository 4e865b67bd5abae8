import json
from pathlib import Path
from typing import Any

import pytest

from sftrun.contract import events
from sftrun.disk import outside
from sftrun.errors import RunNotFound
from sftrun.run.listing import find, rows


def make(root: Path, run_id: str, name: str = "r", created: float = 1.0, ended: bool = True) -> Path:
    folder = root / "runs" / run_id
    folder.mkdir(parents=True)
    manifest = {"id": run_id, "name": name, "created": created, "executor": "local", "model": "m"}
    (folder / "run.json").write_text(json.dumps(manifest))
    step = events.Step(seq=1, step=7, total_steps=9, epoch=0.5, loss=0.25, learning_rate=1e-3)
    end = events.Finished(seq=2, step=9, train_loss=0.5, output_dir="/o")
    lines = [step, end] if ended else [step]
    (folder / "events.jsonl").write_text("".join(events.dump(e) + "\n" for e in lines))
    return folder


def test_a_row_tells_status_steps_and_loss(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa")
    (row,) = rows(tmp_path)
    assert (row.status, row.step, row.total_steps, row.loss) == ("finished", 9, 9, 0.25)


def test_no_ledger_is_an_empty_list(tmp_path: Path) -> None:
    assert rows(tmp_path) == []


def test_the_latest_comes_first(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa", created=1)
    make(tmp_path, "bbbbbbbbbb", created=2)
    assert [row.id for row in rows(tmp_path)] == ["bbbbbbbbbb", "aaaaaaaaaa"]


def test_a_run_without_last_word_or_holder_is_lost(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa", ended=False)
    assert rows(tmp_path)[0].status == "lost"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": 1}', "\x00", "nul"])
def test_a_damaged_manifest_is_listed_as_damaged(tmp_path: Path, content: str) -> None:
    make(tmp_path, "aaaaaaaaaa")
    (make(tmp_path, "bbbbbbbbbb") / "run.json").write_text(content)
    assert {row.id: row.status for row in rows(tmp_path)} == {"aaaaaaaaaa": "finished", "bbbbbbbbbb": "damaged"}


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    (make(tmp_path, "aaaaaaaaaa") / "run.json").unlink()
    assert rows(tmp_path)[0].problem == "run.json is missing"


def test_a_torn_end_of_the_events_does_not_hide_the_rest(tmp_path: Path) -> None:
    folder = make(tmp_path, "aaaaaaaaaa", ended=False)
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"seq": 2, "kind": "fini')
    assert rows(tmp_path)[0].step == 7


ODD_ROW = '{"format": 1, "rows": [["aaaaaaaaaa", [0, 0, 0, 0], ["r", "finished", "x", "", "", 0, 0, 0, "", ""]]]}'


@pytest.mark.parametrize("index", ["", "[]", '{"format": 1, "rows": [[1]]}', ODD_ROW, '{"format": 99}', "\x00"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, index: str) -> None:
    make(tmp_path, "aaaaaaaaaa")
    (tmp_path / "index.json").write_text(index)
    assert rows(tmp_path)[0].status == "finished"
    assert rows(tmp_path) == rows(tmp_path)


def test_the_index_never_hides_a_change(tmp_path: Path) -> None:
    folder = make(tmp_path, "aaaaaaaaaa")
    rows(tmp_path)
    failed = events.Failed(seq=3, failure="error", stage="train", message="x")
    with (folder / "events.jsonl").open("a") as file:
        file.write(events.dump(failed) + "\n")
    assert rows(tmp_path)[0].status == "failed"


def test_a_ledger_that_cannot_be_written_is_still_listed(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa")
    (tmp_path / "index.json").mkdir()
    assert rows(tmp_path)[0].status == "finished"


@pytest.mark.slow
def test_ten_thousand_runs_are_listed_from_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10_000):
        make(tmp_path, f"{number:010x}", name=f"recipe-{number % 50}", created=number)
    rows(tmp_path)
    opened: list[Path] = []
    open_file = outside.open_file

    def counted(path: Path) -> Any:
        opened.append(path)
        return open_file(path)

    monkeypatch.setattr(outside, "open_file", counted)
    assert len(rows(tmp_path)) == 10_000
    assert 0 < len(opened) < 10


def test_a_name_means_its_latest_run(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa", name="mine", created=1)
    make(tmp_path, "bbbbbbbbbb", name="mine", created=2)
    assert find(tmp_path, "mine") == "bbbbbbbbbb"


def test_a_unique_prefix_is_enough(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa")
    make(tmp_path, "abbbbbbbbb")
    assert find(tmp_path, "ab") == "abbbbbbbbb"
    with pytest.raises(RunNotFound, match="`a` begins 2 runs"):
        find(tmp_path, "a")


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    make(tmp_path, "aaaaaaaaaa", name="quickstart")
    with pytest.raises(RunNotFound) as caught:
        find(tmp_path, "quikstart")
    assert caught.value.help == "did you mean `quickstart`?"
