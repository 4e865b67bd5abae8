"""Much data: tokenised and packed on the container without a GPU, so that the one that costs begins with steps."""

import json
from pathlib import Path

import pytest

from sftrun.step.place import WORTH_A_CONTAINER_BYTES
from tests.run.modal_desk import WAIT, Desk, recorded

pytestmark = pytest.mark.slow
ROWS = 40


def write(path: Path, row: dict[str, str]) -> None:
    """Rows that are more than a GPU should wait for."""
    text = "the pods of this namespace restart " * (WORTH_A_CONTAINER_BYTES // ROWS // 35 + 1)
    rows = [{key: value.format(text=f"{index} {text}") for key, value in row.items()} for index in range(ROWS)]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))


def apply(desk: Desk, *sets: str) -> tuple[int, str]:
    words = [word for each in ("trainer.max_steps=2", "trainer.packing=true", *sets) for word in ("--set", each)]
    client = desk.start("apply", "recipe.yaml", *words)
    _, said = client.communicate(timeout=WAIT)
    return client.returncode, said


def functions(desk: Desk) -> list[str]:
    return [task.function.name for task in desk.plane.tasks]


def test_the_container_that_costs_finds_its_rows_packed_and_they_are_packed_once(desk: Desk) -> None:
    write(desk.folder / "train.jsonl", {"text": "{text}"})
    code, said = apply(desk)
    assert code == 0, said
    assert functions(desk) == ["prepare", "execute"]
    (ready,) = [event for event in recorded(desk) if event["kind"] == "data_ready"]
    assert (ready["rows"], ready["was_ready"]) == (ROWS, True)
    assert (desk.plane.volume("sftrun-cache") / "data" / "prepared").is_dir()
    code, said = apply(desk, "trainer.seed=8", "output.dir=/out/other")
    assert code == 0, said
    assert functions(desk) == ["prepare", "execute", "execute"]


def test_rows_of_a_volume_with_nothing_to_learn_cost_no_gpu(desk: Desk) -> None:
    rows = desk.plane.volume("outputs") / "rows"
    rows.mkdir()
    write(rows / "a.jsonl", {"instruction": "{text}", "output": "yes"})
    code, said = apply(desk, "dataset.train={path: /out/rows/*.jsonl, num_examples: 40, mean_tokens: 50000}")
    assert code == 3, said
    assert "none of the 40 rows has anything to learn from: every label is masked" in said
    assert functions(desk) == ["prepare"]
