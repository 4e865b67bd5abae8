"""The model: what is trained of it in which type, and how it answers where it lies on several devices."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from peft import PeftModel
from transformers import Qwen2Config

from sftrun.contract.choices import Attention
from sftrun.contract.jobspec import ModelSpec
from sftrun.contract.stepplan import Precision, StepPlan
from sftrun.job.failures import JobFailure
from sftrun.job.train import loading, samples
from tests.job import small, tiny

PROMPTS = ("Add 1 and 2.", "Hello")
END = 2  # `<|im_end|>`


def test_a_loss_scaler_can_unscale_the_gradients_of_an_adapter_over_4_bit_weights() -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "vocab_size": 97}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    made = small.adapt(small.quantise(small.build(Qwen2Config(**sizes, **heads), "sdpa", torch.float16)))
    rows = torch.arange(8)[None]

    def unscale() -> None:
        trained = torch.optim.SGD((weight for weight in made.parameters() if weight.requires_grad), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        with torch.autocast("cpu", torch.float16):
            scaler.scale(made(input_ids=rows, labels=rows).loss).backward()
        scaler.unscale_(trained)

    with pytest.raises(ValueError, match="FP16"):
        unscale()
    made.zero_grad()
    loading.widen_trained(made)
    unscale()
    assert {weight.dtype for weight in made.parameters() if weight.requires_grad} == {torch.float32}
    assert made.base_model.model.model.embed_tokens.weight.dtype == torch.float16


def named(folder: Path) -> ModelSpec:
    return ModelSpec(name_or_path=str(tiny.make_model(folder)), dtype="float32")


def computing(attention: Attention = "sdpa") -> StepPlan:
    return StepPlan(attention=attention, precision=Precision(step="float32"))


def answers(spec: ModelSpec, tuned: Any) -> list[str]:
    """Of the base, then with the adapter."""
    tokenizer = loading.auto_tokenizer(spec)
    with samples.without_adapter(tuned):
        base = list(samples.generate(tuned, tokenizer, PROMPTS, [END], max_new_tokens=6))
    return [*base, *samples.generate(tuned, tokenizer, PROMPTS, [END], max_new_tokens=6)]


def test_an_answer_stops_at_any_of_its_ends(tmp_path: Path) -> None:
    spec = named(tmp_path / "model")
    model, tokenizer = loading.load_model(spec, None, computing()), loading.auto_tokenizer(spec)
    model.generation_config.eos_token_id = None
    first, *_ = samples.generate(model, tokenizer, PROMPTS[:1], [END], max_new_tokens=1)
    longer, *_ = samples.generate(model, tokenizer, PROMPTS[:1], [END], max_new_tokens=6)
    stopped, *_ = samples.generate(model, tokenizer, PROMPTS[:1], range(len(tokenizer)), max_new_tokens=6)
    assert len(longer) > len(first)
    assert stopped == first


@pytest.mark.parametrize("attention", ["sdpa", "varlen"])
def test_a_model_that_is_laid_out_over_devices_answers_with_and_without_its_adapter(
    attention: Attention, tmp_path: Path
) -> None:
    spec, step = named(tmp_path / "model"), computing(attention)
    tuned = small.adapt(loading.load_model(spec, None, step))
    tuned.save_pretrained(tmp_path / "adapter")
    laid_out = loading.load_model(spec, None, step, room={"cpu": 10**9})
    # as over several devices: each layer fetches what it computes on
    laid_out = dispatch_model(laid_out, {"": "cpu"}, main_device="cpu", force_hooks=True)
    found = answers(spec, PeftModel.from_pretrained(laid_out, tmp_path / "adapter"))
    assert found == answers(spec, tuned)
    assert found[:2] != found[2:]


def test_a_model_that_the_free_memory_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobFailure, match="does not fit into"):
        loading.load_model(named(tmp_path / "model"), None, computing(), room={"cpu": 250_000})
