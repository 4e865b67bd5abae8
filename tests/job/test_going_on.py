"""A run that goes on from another run's adapter: as plain PEFT and TRL go on, resumed, refused where it has changed."""

import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from sftrun.contract.events import Failed, Started, Step
from sftrun.contract.jobspec import AdapterSpec, JobSpec, QuantizationSpec
from sftrun.disk import adapter_files
from sftrun.job.fast import plain_head
from sftrun.job.train.loading import load_model
from tests.job import tiny
from tests.job.runs import Run, at_step, curve, held_at_step, record

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FIRST = [{"prompt": f"{n}?", "completion": f"{n * 7}!"} for n in range(16)]
SECOND = [{"prompt": f"{n}?", "completion": f"no. {n}"} for n in range(16)]
NF4 = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32")


def job(
    folder: Path, model: Path, rows: list[dict[str, str]], after: JobSpec | None = None, **changes: object
) -> JobSpec:
    folder.mkdir(parents=True, exist_ok=True)
    spec = tiny.make_job(folder, model, tiny.write_rows(folder / "rows.jsonl", rows), **changes)
    return spec if after is None else spec.model_copy(update={"adapter": of(after)})


def of(spec: JobSpec) -> AdapterSpec:
    return AdapterSpec(folder=spec.output_dir, sha256=adapter_files.content(Path(spec.output_dir)))


def finished(spec: JobSpec, folder: Path) -> JobSpec:
    code, last = Run(spec, folder).rest()
    assert (code, last.kind) == (0, "finished"), last
    return spec


def weights(folder: str) -> dict[str, torch.Tensor]:
    return load_file(f"{folder}/{adapter_files.WEIGHTS}")


@pytest.fixture(scope="module")
def first(model: Path, tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    folder = tmp_path_factory.mktemp("first")
    return finished(job(folder, model, FIRST), folder)


@pytest.mark.parametrize("quantization", [None, NF4], ids=["whole weights", "NF4"])
def test_two_runs_are_one_that_plain_peft_goes_on_with(
    quantization: QuantizationSpec | None, first: JobSpec, model: Path, tmp_path: Path
) -> None:
    spec = finished(job(tmp_path, model, SECOND, first, quantization=quantization), tmp_path)

    plain_head.install()
    base = load_model(spec.model, quantization, spec.step) if quantization else _plain(model)
    same = ("max_steps", "per_device_train_batch_size", "learning_rate", "optim", "bf16", "seed", "logging_steps")
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(base, first.output_dir, is_trainable=True),
        args=SFTConfig(
            **{key: getattr(spec.trainer, key) for key in same},
            output_dir=str(tmp_path / "trl"),
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            max_length=256,
        ),
        train_dataset=Dataset.from_list(SECOND),
        processing_class=AutoTokenizer.from_pretrained(str(model)),
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "expected"))

    expected, found, begun = weights(str(tmp_path / "expected")), weights(spec.output_dir), weights(first.output_dir)
    assert found.keys() == expected.keys() == begun.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert not any(torch.equal(found[name], begun[name].to(found[name].dtype)) for name in found)
    losses = [event.loss for event in record(spec) if isinstance(event, Step)]
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx(logged, rel=1e-5)


def _plain(model: Path) -> object:
    return AutoModelForCausalLM.from_pretrained(str(model), dtype="float32")


def test_it_loads_on_the_plain_base(first: JobSpec, model: Path, tmp_path: Path) -> None:
    spec = finished(job(tmp_path, model, SECOND, first), tmp_path)
    loaded = PeftModel.from_pretrained(_plain(model), spec.output_dir)
    ids = torch.arange(9)[None]
    with torch.no_grad():
        tuned = loaded(ids).logits
        with loaded.disable_adapter():
            base = loaded(ids).logits
    assert not torch.allclose(tuned, base)
    told = json.loads(Path(spec.output_dir, adapter_files.CONFIG).read_text())
    assert told["lora_dropout"] == 0.1
    assert told["base_model_name_or_path"] == model.name


def test_a_kill_and_a_resume_change_nothing(first: JobSpec, model: Path, tmp_path: Path) -> None:
    whole = finished(job(tmp_path / "whole", model, SECOND, first), tmp_path / "whole")
    broken = job(tmp_path / "broken", model, SECOND, first)
    run = Run(broken, tmp_path / "broken", held_at_step(6, broken))
    run.until(at_step(6))
    run.kill_worker()
    assert run.rest()[0] == 3
    finished(broken, tmp_path / "broken")
    assert [event.resumed_from for event in record(broken) if isinstance(event, Started)] == [None, 3]
    assert curve(record(broken)) == curve(record(whole))
    expected = weights(whole.output_dir)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(broken.output_dir).items())


def test_an_adapter_that_has_changed_since_is_refused(first: JobSpec, model: Path, tmp_path: Path) -> None:
    spec = job(tmp_path, model, SECOND, first)
    assert spec.adapter is not None
    other = spec.adapter.model_copy(update={"sha256": "0" * 64})
    code, last = Run(spec.model_copy(update={"adapter": other}), tmp_path).rest()
    assert code == 3
    assert isinstance(last, Failed)
    assert (last.failure, last.help) == ("model", "apply the recipe again")
    assert "has changed since the run was planned" in last.message
