"""Adapters on experts that are stacked in one parameter a layer: counted, trained, saved, resumed as PEFT has them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sftrun.contract.jobspec import JobSpec, LoraSpec, QuantizationSpec
from sftrun.facts.model.lookup import model_facts
from sftrun.facts.values import ModelFacts
from sftrun.plan.targets import reach
from tests import steps
from tests.job import tiny
from tests.job.runs import Run, at_step, held_at_step

pytestmark = pytest.mark.slow
STACKS = ("experts.gate_up_proj", "experts.down_proj")
SIZES = {
    "vocab_size": tiny.VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "num_experts_per_tok": 2, "max_position_embeddings": 512, "eos_token_id": 2, "pad_token_id": 0,
    "bos_token_id": None,
}  # fmt: skip


def mixture(folder: Path, kind: str) -> Path:
    """A random mixture of four experts that reads the tiny tokenizer's tokens."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    made = tiny.make_model(folder)
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**SIZES, **{"num_local_experts" if kind == "gpt_oss" else "num_experts": 4})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 0.5 if weight.dim() == 1 else 0.0, 0.1)
    model.save_pretrained(made)
    return made


def job(folder: Path, model: Path, targets: tuple[str, ...], **sections: Any) -> JobSpec:
    folder.mkdir()
    data = tiny.write_rows(folder / "rows.jsonl", tiny.make_rows(12))
    extra = {"router_aux_loss_coef": 0.0}
    trainer = {"max_steps": 4, "logging_steps": 1, "save_steps": 2, "per_device_train_batch_size": 4, "extra": extra}
    lora = LoraSpec(r=4, lora_alpha=8.0, target_modules=targets, target_parameters=STACKS, autocast_adapter_dtype=True)
    return steps.changed(
        tiny.make_job(folder, model, data, trainer=trainer), {"lora": lora} | sections, attention="eager"
    )


def saved(spec: JobSpec) -> dict[str, torch.Tensor]:
    return dict(load_file(Path(spec.output_dir, "adapter_model.safetensors")))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.arange(20)[None]).logits
    return found


def tuned(model: Path, spec: JobSpec, **options: Any) -> Any:
    """The run's result as plain PEFT puts it on the plain base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, **options), spec.output_dir)


@pytest.mark.parametrize("kind", ["qwen3_moe", "gpt_oss"])
def test_stacked_experts_are_counted_trained_and_saved_over_a_kill(kind: str, tmp_path: Path) -> None:
    model = mixture(tmp_path / "model", kind)
    whole, broken = (job(tmp_path / name, model, ("q_proj",)) for name in ("whole", "broken"))
    first = Run(broken, tmp_path / "broken", held_at_step(3, broken))
    first.until(at_step(3))
    first.kill_worker()
    first.rest()
    assert Run(broken, tmp_path / "broken").rest()[1].kind == "finished"
    assert Run(whole, tmp_path / "whole").rest()[1].kind == "finished"

    weights, again = saved(whole), saved(broken)
    assert weights.keys() == again.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(again[name], weight, rtol=1e-4, atol=1e-6)
    stacked = [weight for name, weight in weights.items() if "experts" in name and "lora_B" in name]
    assert len(stacked) == 4
    assert all(bool(weight.any()) for weight in stacked)
    facts = model_facts(str(model), None, model, offline=True)
    assert isinstance(facts, ModelFacts)
    assert whole.lora is not None
    assert reach(whole.lora, facts).trainable_parameters == sum(weight.numel() for weight in weights.values())

    found = tuned(model, whole)
    answer = logits(found)
    with found.disable_adapter():
        assert not torch.allclose(logits(found), answer)
    torch.testing.assert_close(logits(found.merge_and_unload()), answer, rtol=1e-4, atol=1e-5)


def test_experts_alone_are_trained_and_beside_weights_in_4_bits(tmp_path: Path) -> None:
    """bitsandbytes quantises linear layers, and leaves stacked experts in 16 bits."""
    model = mixture(tmp_path / "model", "qwen3_moe")
    four = QuantizationSpec(load_in_4bit=True, bnb_4bit_compute_dtype="float32")
    spec = job(tmp_path / "run", model, (), quantization=four)
    assert Run(spec, tmp_path / "run").rest()[1].kind == "finished"
    weights = saved(spec)
    assert all("experts" in name for name in weights)
    assert all(bool(weight.any()) for name, weight in weights.items() if "lora_B" in name)
