"""An embedding and the head tied to it, trained in full beside adapters, are one weight from start to merge."""

from pathlib import Path

import pytest
import torch

from sftrun.contract.jobspec import JobSpec, LoraSpec
from tests import steps
from tests.job import tiny
from tests.job.runs import Run, at_step, held_at_step

pytestmark = pytest.mark.slow
TIED = LoraSpec(r=4, lora_alpha=8.0, modules_to_save=("embed_tokens", "lm_head"), ensure_weight_tying=True)


def job(folder: Path, model: Path) -> JobSpec:
    folder.mkdir()
    data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(12))
    trainer = {"max_steps": 4, "logging_steps": 1, "save_steps": 2, "per_device_train_batch_size": 4}
    return steps.changed(tiny.make_job(folder, model, data, trainer=trainer), {"lora": TIED})


def tuned(spec: JobSpec, model: Path) -> torch.nn.Module:
    """The run's result as plain PEFT loads it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    found: torch.nn.Module = PeftModel.from_pretrained(base, spec.output_dir)
    return found


def test_a_broken_run_ends_with_one_weight_that_a_merge_keeps(model: Path, tmp_path: Path) -> None:
    whole, broken = job(tmp_path / "whole", model), job(tmp_path / "broken", model)
    unbroken, first = Run(whole, tmp_path / "whole"), Run(broken, tmp_path / "broken", held_at_step(3, broken))
    first.until(at_step(3))
    first.kill_worker()
    first.rest()
    assert Run(broken, tmp_path / "broken").rest()[1].kind == "finished"
    assert unbroken.rest()[1].kind == "finished"

    found = [tuned(spec, model) for spec in (whole, broken)]
    weights = [one.get_input_embeddings().weight for one in found]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=0)
    tokens = torch.arange(20)[None]
    answer = found[0](tokens).logits
    merged = found[0].merge_and_unload()
    assert torch.equal(merged.get_output_embeddings().weight, merged.get_input_embeddings().weight)
    merged.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(type(merged).from_pretrained(tmp_path / "merged")(tokens).logits, answer)
