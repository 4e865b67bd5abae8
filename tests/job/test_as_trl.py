"""The job against TRL's own trainer: from raw rows, with the same settings, the same losses and the same weights.

TRL's side is written out as its users write it: raw rows, transformers' tokenizer, SFTConfig, nothing of ours.  But for
one thing: TRL's loss comes from a Triton kernel alone, which a CPU has not, so both sides have the plain one.

Weights are the same bit for bit.  Losses differ by rounding where rows are padded: TRL sums over all positions, with
zeros where nothing is learnt, the job over the learnt ones, so floats are added in another order.  What is
differentiated is the same, so nothing of that reaches the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

from sftrun.contract.events import Disobeyed, Step
from sftrun.contract.jobspec import JobSpec, LoraSpec, ModelSpec, QuantizationSpec
from sftrun.contract.row_rules import RowRules
from sftrun.job.fast import plain_head
from sftrun.job.prepare import prepared, row_tokenizer
from tests.job import tiny
from tests.job.runs import Run, record

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STEPS = 6
ROWS = 20
ROUNDING = 1e-6  # of float32's sums; 2e-7 is the most that was seen
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# SFTConfig's names and values, for both sides
SAME: dict[str, Any] = {
    "max_steps": STEPS,
    "max_length": 96,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "linear",
    "optim": "adamw_torch",
    "bf16": False,
    "logging_steps": 1,
    "seed": 7,
}
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 8.0, "target_modules": LINEAR}
NF4: dict[str, Any] = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float32",
}
Rows = list[dict[str, Any]]


def words(draw: Random, most: int) -> str:
    known = ("add", "the", "two", "Ünïcode", "naïve", "🗾", "it's", "3.5%", "\n", "f(x):", "東京")
    return " ".join(draw.choice(known) for _ in range(draw.randint(1, most)))


def pairs() -> Rows:
    draw = Random(1)
    return [{"prompt": words(draw, 9) + "?", "completion": " " + words(draw, 12)} for _ in range(ROWS)]


def texts() -> Rows:
    return [{"text": row["prompt"] + row["completion"]} for row in pairs()]


def talks() -> Rows:
    made = []
    for number, row in enumerate(pairs()):
        said = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"].strip()}]
        again = [{"role": "user", "content": "and?"}, {"role": "assistant", "content": f"no. {number}"}]
        made.append({"messages": said + (again if number % 2 else [])})
    return made


@dataclass(frozen=True)
class Setting:
    """Its rows, and what it changes of `SAME` and `LORA`; `loss` tells TRL what `rules` tell the job."""

    rows: Callable[[], Rows] = pairs
    trainer: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] | None = field(default_factory=dict)
    quantization: dict[str, Any] | None = None
    rules: RowRules = RowRules()  # noqa: RUF009
    loss: dict[str, Any] = field(default_factory=dict)


SETTINGS = {
    "LoRA": Setting(),
    "LoRA with dropout": Setting(lora={"lora_dropout": 0.1}),
    "LoRA and a head of its own": Setting(lora={"modules_to_save": ("lm_head",)}),
    "rsLoRA and biases": Setting(lora={"use_rslora": True, "bias": "lora_only"}),
    "DoRA": Setting(lora={"use_dora": True}),
    "NF4": Setting(quantization=NF4),
    "all weights": Setting(lora=None, trainer={"learning_rate": 1e-3}),
    "accumulated": Setting(trainer={"gradient_accumulation_steps": 2, "max_steps": 4}),
    "Adafactor, cosine, decay, clipped": Setting(
        trainer={
            "optim": "adafactor",
            "lr_scheduler_type": "cosine",
            "warmup_steps": 2,
            "weight_decay": 0.1,
            "max_grad_norm": 0.05,
        }
    ),
    "prompts learnt, cut at the beginning": Setting(
        trainer={"max_length": 40},
        rules=RowRules(completion_only=False, truncation_mode="keep_end"),
        loss={"completion_only_loss": False, "truncation_mode": "keep_end"},
    ),
    "text": Setting(rows=texts),
    "the assistant's turns": Setting(
        rows=talks, rules=RowRules(assistant_only=True), loss={"assistant_only_loss": True}
    ),
    "whole conversations": Setting(rows=talks, rules=RowRules(assistant_only=False)),
    "packed by TRL": Setting(trainer={"packing": True, "extra": {"packing_strategy": "bfd"}, "max_steps": 3}),
    "packed": Setting(trainer={"packing": True, "max_steps": 3}),
}


@dataclass(frozen=True)
class Trained:
    losses: list[float]
    weights: dict[str, torch.Tensor]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_losses_and_the_same_weights_as_trl_from_the_same_rows(name: str, model: Path, tmp_path: Path) -> None:
    spec = job(SETTINGS[name], model, tmp_path)
    found = by_job(spec, tmp_path)
    expected = by_trl(SETTINGS[name], spec, tmp_path)
    assert found.losses == pytest.approx(expected.losses, rel=ROUNDING)
    assert found.weights.keys() == expected.weights.keys()
    assert [key for key, value in found.weights.items() if not torch.equal(value, expected.weights[key])] == []
    assert len(set(found.losses)) == len(found.losses)


def job(setting: Setting, model: Path, folder: Path) -> JobSpec:
    data = tiny.write_rows(folder / "rows.jsonl", setting.rows())
    return tiny.make_job(
        folder,
        model,
        data,
        trainer=SAME | setting.trainer,
        lora=None if setting.lora is None else LoraSpec(**LORA | setting.lora),
        quantization=setting.quantization and QuantizationSpec(**setting.quantization),
        rows=setting.rules,
    )


def by_job(spec: JobSpec, folder: Path) -> Trained:
    code, last = Run(spec, folder).rest()
    assert (code, last.kind) == (0, "finished"), last
    events = record(spec)
    assert [event for event in events if isinstance(event, Disobeyed)] == []
    return Trained([event.loss for event in events if isinstance(event, Step)], saved(Path(spec.output_dir)))


def by_trl(setting: Setting, spec: JobSpec, folder: Path) -> Trained:
    plain_head.install()
    config = dict(SAME | setting.trainer)
    config |= config.pop("extra", {})
    bins = spec.step.packed_by == "sftrun"
    trainer = SFTTrainer(
        model=base(spec.model, setting.quantization),
        args=SFTConfig(
            output_dir=str(folder / "trl"),
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True} if bins else None,
            **config,
            **setting.loss,
        ),
        train_dataset=our_bins(spec) if bins else Dataset.from_list(setting.rows()),
        processing_class=AutoTokenizer.from_pretrained(spec.model.name_or_path),
        peft_config=adapter(setting.lora),
    )
    trainer.train()
    trainer.model.save_pretrained(folder / "by-trl")
    return Trained([entry["loss"] for entry in trainer.state.log_history if "loss" in entry], saved(folder / "by-trl"))


def base(spec: ModelSpec, quantization: dict[str, Any] | None) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        spec.name_or_path,
        dtype="float32",
        attn_implementation="sdpa",
        device_map={"": "cpu"},
        quantization_config=None if quantization is None else BitsAndBytesConfig(**quantization),
    )


def adapter(lora: dict[str, Any] | None) -> LoraConfig | None:
    if lora is None:
        return None
    return LoraConfig(**{key: list(v) if isinstance(v, tuple) else v for key, v in (LORA | lora).items()})


def our_bins(spec: JobSpec) -> Dataset:
    """Which rows share a sequence is the job's own draw (`rows.bins`), so TRL is handed the bins that it trained on."""
    found = prepared.find(prepared.folder(spec, row_tokenizer.of_job(spec)))
    assert found is not None
    return found.train()


def saved(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return dict(load_file(file))
