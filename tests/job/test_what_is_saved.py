"""What a whole run leaves in its output folder: the ends of turns, the base's name, the tokenizer as it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from sftrun.contract import output_marker
from sftrun.contract.jobspec import JobSpec, SampleSpec
from sftrun.contract.question import Exchange, Question
from sftrun.job.failures import JobFailure
from sftrun.job.train import samples
from sftrun.job.train.answer import Answerer
from tests.job import tiny
from tests.job.runs import Run

pytestmark = pytest.mark.slow
END = "<|im_end|>"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    """A finished run on a base whose texts end with another token than its template's turns."""
    folder = tmp_path_factory.mktemp("run")
    base = tiny.make_model(folder / "a-base")
    for name, key, value in (("config", "eos_token_id", 0), ("tokenizer_config", "eos_token", "<|endoftext|>")):
        file = base / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    said = {"system": "Add.", "user": "Add 1 and 3.", "assistant": "4"}
    talk = [{"role": role, "content": content} for role, content in said.items()]
    data = tiny.write_rows(folder / "rows.jsonl", [{"messages": talk}] * 8)
    trainer = {"max_steps": 30, "per_device_train_batch_size": 4}
    samples = SampleSpec(prompts=("Add 1 and 3.", "Hi"), max_new_tokens=8)
    made = tiny.make_job(folder, base, data, trainer=trainer, samples=samples)
    assert Run(made, folder).rest()[0] == 0
    return made


def read(spec: JobSpec, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(spec.output_dir, name).read_text())
    return found


def test_the_trained_end_stands_beside_the_base_s_own(spec: JobSpec) -> None:
    assert read(spec, "generation_config.json")["eos_token_id"] == [0, 2]
    marker = output_marker.read(spec.output_dir)
    assert marker is not None
    assert marker.ends == (END,)


def test_the_tokenizer_is_saved_without_what_answers_were_filled_up_with(spec: JobSpec) -> None:
    assert read(spec, "tokenizer.json")["padding"] is None


def test_no_file_that_is_read_elsewhere_names_a_place_of_this_machine(spec: JobSpec) -> None:
    texts = [file for file in Path(spec.output_dir).iterdir() if file.suffix in (".json", ".md", ".jinja")]
    assert len(texts) >= 5
    folder = str(Path(spec.output_dir).parents[1])
    assert [file.name for file in texts if folder in file.read_text()] == []
    assert read(spec, "adapter_config.json")["base_model_name_or_path"] == "a-base"
    assert 'from_pretrained(base, "PATH")' in Path(spec.output_dir, "README.md").read_text()


def test_plain_peft_loads_the_adapter_onto_a_base_that_it_is_given(spec: JobSpec) -> None:
    base = AutoModelForCausalLM.from_pretrained(spec.model.name_or_path)
    tuned = PeftModel.from_pretrained(base, spec.output_dir)
    assert tuned.peft_config["default"].base_model_name_or_path == "a-base"


def test_the_system_turn_that_all_rows_have_stands_in_the_marker(spec: JobSpec) -> None:
    marker = output_marker.read(spec.output_dir)
    assert marker is not None
    assert marker.system == "Add."


def test_each_model_is_asked_below_its_own_answers(spec: JobSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = samples.generate

    def heard(model: Any, tokenizer: Any, prompts: list[str], ends: list[int], **how: Any) -> Iterator[str]:
        asked.extend(prompts)
        return real(model, tokenizer, prompts, ends, **how)

    monkeypatch.setattr(samples, "generate", heard)
    before = (Exchange(prompt="Hi", base="BASE", tuned="TUNED"),)
    Answerer(spec).ask(Question(prompt="Add 1 and 3.", system="Be brief.", before=before), 4, 0.0)
    base, tuned = asked
    assert "Be brief." in base
    assert "Add.<" not in base
    assert base.replace("BASE", "TUNED") == tuned


def test_a_system_turn_that_the_rows_have_no_place_for_is_refused(spec: JobSpec) -> None:
    answerer = Answerer(spec)
    answerer.rows = answerer.rows._replace(format="instruction", are_conversations=False)
    with pytest.raises(JobFailure, match="rows of instruction have no place for a system turn"):
        answerer.ask(Question(prompt="Hi", system="Be brief."), 4, 0.0)
