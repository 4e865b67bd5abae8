"""Real models from the first command to the last, with LoRA, beside plain TRL.  Opt-in: it takes weights, and minutes.

    SFTRUN_REAL_MODELS=FOLDER pytest -m real tests/real

FOLDER holds one model a folder, each with config, safetensors, tokenizer and a chat template.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from sftrun.contract.events import Evaluated, Sample, Started, Step
from sftrun.contract.jobspec import JobSpec
from sftrun.job.fast import plain_head
from sftrun.job.train.loading import load_model
from tests.job.runs import Run, at_step, held_at_step, record

ROOT = Path(os.environ.get("SFTRUN_REAL_MODELS", "no-folder"))
MODELS = sorted(folder for folder in ROOT.glob("*") if (folder / "config.json").is_file())
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not MODELS, reason="SFTRUN_REAL_MODELS names no folder of models"),
]
STEPS, LENGTH = 6, 96
ROWS = [
    {
        "prompt": [{"role": "user", "content": f"What is the house tag of service {n}?"}],
        "completion": [{"role": "assistant", "content": f"acme:svc-{n * 7}"}],
    }
    for n in range(24)
]
LORA: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}


class Desk:
    """A folder with a recipe and its rows, where commands are run as a user runs them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        recipe = {
            "version": 1,
            "name": "real",
            "model": {"name_or_path": str(model), "dtype": "float32"},
            "dataset": {"train": "rows.jsonl", "format": "prompt_completion", "shuffle": False},
            "trainer": {
                **{"max_steps": STEPS, "max_length": LENGTH, "per_device_train_batch_size": 2, "logging_steps": 1},
                **{"save_steps": 3, "learning_rate": 1e-3, "optim": "adamw_torch"},
            },
            "compute": {"executor": "local", "gpu": "none"},
            "volumes": {"/out": "out"},
            "output": {"dir": "/out/real"},
            "samples": {"prompts": ["What is the house tag of service 3?"], "max_new_tokens": 12},
            "lora": LORA,
        }
        (folder / "r.yaml").write_text(json.dumps(recipe))

    def sftrun(self, *arguments: str) -> str:
        env = {**os.environ, "SFTRUN_HOME": str(self.folder / "home")}
        command = [sys.executable, "-m", "sftrun", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def job(self) -> JobSpec:
        """What `apply` would tell the job."""
        from sftrun.cli.examine import examine_file
        from sftrun.run.ledger import Ledger
        from sftrun.run.local import Local

        plan = examine_file(self.folder / "r.yaml").plan
        assert plan is not None
        return Local(Ledger(self.folder / "other")).job(plan, "0123456789")


def losses(found: list[Any]) -> list[float]:
    last = {event.step: event.loss for event in found if isinstance(event, Step)}
    return [last[step] for step in sorted(last)]


@pytest.mark.parametrize("model", MODELS, ids=lambda folder: folder.name)
def test_from_validate_to_a_plain_reload_beside_plain_trl(model: Path, tmp_path: Path) -> None:
    desk = Desk(tmp_path, model)
    desk.sftrun("validate", "r.yaml")
    assert "acme:svc-" in desk.sftrun("data", "show", "r.yaml")
    desk.sftrun("apply", "r.yaml")
    (events_file,) = (tmp_path / "home" / "runs").glob("*/events.jsonl")
    spec = JobSpec.read((events_file.parent / "job.json").read_bytes())
    said = record(spec)
    whole = losses(said)
    assert whole[-1] < whole[0]
    assert not any(isinstance(event, Evaluated) for event in said)

    broken = desk.job()
    run = Run(broken, tmp_path / "other", held_at_step(4, broken))
    run.until(at_step(4))
    run.kill_worker()
    assert run.rest()[0] == 3
    assert Run(broken, tmp_path / "other").rest()[0] == 0
    assert [event.resumed_from for event in record(broken) if isinstance(event, Started)] == [None, 3]
    assert losses(record(broken)) == whole

    assert whole == pytest.approx(by_trl(spec, model, tmp_path), rel=1e-4)
    answer = next(event.text for event in said if isinstance(event, Sample) and event.when == "after")
    assert answer in desk.sftrun("generate", "real", "What is the house tag of service 3?")
    desk.sftrun("pull", "real", "pulled")
    assert reloaded(model, tmp_path / "pulled").startswith(answer)


def by_trl(spec: JobSpec, model: Path, folder: Path) -> list[float]:
    """The same by TRL's own trainer, from the raw rows."""
    plain_head.install()
    same = ("max_steps", "per_device_train_batch_size", "learning_rate", "optim", "bf16", "seed", "logging_steps")
    trainer = SFTTrainer(
        model=load_model(spec.model, spec.quantization, spec.step),
        args=SFTConfig(
            **{key: getattr(spec.trainer, key) for key in same},
            **{"output_dir": str(folder / "trl"), "save_strategy": "no", "report_to": "none", "use_cpu": True},
            max_length=LENGTH,
            train_sampling_strategy="sequential",
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **LORA),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def reloaded(model: Path, folder: Path) -> str:
    """What plain transformers and PEFT answer with what was pulled."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    tuned = PeftModel.from_pretrained(base, str(folder))
    asked = [{"role": "user", "content": "What is the house tag of service 3?"}]
    batch = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        said = tuned.generate(**batch, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(said[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
