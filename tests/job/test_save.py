"""The output folder: swapped in whole, and nobody else's files are lost for it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationConfig

from sftrun.contract import output_marker
from sftrun.contract.events import Finished
from sftrun.contract.jobspec import JobSpec
from sftrun.job.train import save
from tests.job import tiny

ROWS: Any = SimpleNamespace(format="text", are_conversations=False, ends=("<|im_end|>",), system=None)
END = Finished(step=3, train_loss=0.5, output_dir="", memory_gb=1.0)


class Saved:
    """As much of a model and a tokenizer as is saved."""

    generation_config = GenerationConfig(eos_token_id=0, temperature=0.6, do_sample=False)
    pad_token_id = 1

    def convert_tokens_to_ids(self, token: str) -> int:
        return {"<|im_end|>": 2}[token]

    def save_pretrained(self, folder: str, **_: Any) -> None:
        Path(folder, "weights").write_text("new")


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return tiny.make_job(tmp_path, Path("/model"), Path("/rows.jsonl"), output_dir=str(tmp_path / "out" / "adapter"))


def saved(spec: JobSpec) -> str | None:
    return save.save(spec, Saved(), Saved(), save.marker(spec, ROWS, END))


def names(spec: JobSpec) -> list[str]:
    return sorted(path.name for path in Path(spec.output_dir).parent.iterdir())


def test_the_folder_names_its_run(spec: JobSpec) -> None:
    assert saved(spec) is None
    marker = output_marker.read(spec.output_dir)
    assert marker is not None
    assert (marker.run_id, marker.step) == ("r1", 3)


def test_the_ends_of_base_and_turns_stand_beside_the_weights(spec: JobSpec) -> None:
    saved(spec)
    found = GenerationConfig.from_pretrained(spec.output_dir)
    assert (found.eos_token_id, found.pad_token_id, found.temperature) == ([0, 2], 1, 0.6)
    assert Saved.generation_config.eos_token_id == 0


def test_one_of_ours_is_replaced_without_a_trace(spec: JobSpec) -> None:
    saved(spec)
    (Path(spec.output_dir) / "old").touch()
    assert saved(spec) is None
    assert names(spec) == ["adapter"]
    assert not (Path(spec.output_dir) / "old").exists()


def test_somebody_s_folder_is_put_aside_and_stays_there_whatever_comes(spec: JobSpec) -> None:
    output = Path(spec.output_dir)
    output.mkdir(parents=True)
    (output / "thesis.txt").write_text("not yours")
    assert saved(spec) == f"{output}.before-r1"
    # another attempt of the same run, which was killed before it could say that it had ended
    saved(spec)
    assert Path(f"{output}.before-r1", "thesis.txt").read_text() == "not yours"
    assert names(spec) == ["adapter", "adapter.before-r1"]


def test_what_a_killed_attempt_has_put_aside_of_ours_goes(spec: JobSpec) -> None:
    saved(spec)
    Path(spec.output_dir).rename(f"{spec.output_dir}.before-r1")
    saved(spec)
    saved(spec)
    assert names(spec) == ["adapter"]
