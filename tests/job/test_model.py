"""The model as it is trained: what is trained of it, in which type."""

import pytest
import torch
from transformers import Qwen2Config

from sftrun.job import model
from tests.job import small


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
    model.widen_trained(made)
    unscale()
    assert {weight.dtype for weight in made.parameters() if weight.requires_grad} == {torch.float32}
    assert made.base_model.model.model.embed_tokens.weight.dtype == torch.float16
