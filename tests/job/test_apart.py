"""Padding-free rows see each other in some models, which is found out before the first step."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from transformers import BloomConfig, GraniteMoeHybridConfig, LlamaConfig, MixtralConfig, PretrainedConfig

from sftrun.job.failures import JobFailure
from sftrun.job.obey import apart
from tests.job import small

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
HYBRID = GraniteMoeHybridConfig(
    **SIZES,
    layer_types=["mamba", "attention"],
    mamba_n_heads=8,
    mamba_d_head=16,
    mamba_d_state=16,
    mamba_n_groups=1,
    num_local_experts=2,
)
APART = {"llama": LlamaConfig(**SIZES), "mixtral": MixtralConfig(**SIZES, num_local_experts=4)}
MIXED = {"a state runs on": HYBRID, "positions do": BloomConfig(hidden_size=64, n_layer=2, n_head=4, vocab_size=64)}


class Trainer:
    """As much of one as the proof looks at."""

    args = type("Args", (), {"device": "cpu"})
    accelerator = type("Accelerator", (), {"autocast": nullcontext})

    def __init__(self, config: PretrainedConfig, kernel: str, dtype: torch.dtype, rows: list[dict[str, Any]]) -> None:
        self.model, self.train_dataset = small.build(config, kernel, dtype), rows


def words(*lengths: int) -> list[int]:
    return [int(word) for row in small.rows_of(lengths, 64) for word in row]


ROWS: dict[str, list[dict[str, Any]]] = {
    "two rows": [{"input_ids": words(40)}, {"input_ids": words(7)}],
    "one row": [{"input_ids": words(40)}],
    "a bin": [{"input_ids": words(40, 7), "seq_lengths": [40, 7]}],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["sdpa", "eager", "varlen"])
@pytest.mark.parametrize("name", APART)
def test_a_model_that_keeps_rows_apart_may_have_them_end_to_end(name: str, kernel: str, dtype: torch.dtype) -> None:
    for rows in ROWS.values():
        trainer = Trainer(APART[name], kernel, dtype, rows)
        apart.require(trainer, has_kernel=False)
        assert trainer.model.training  # as before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MIXED)
def test_a_model_that_mixes_them_is_refused(name: str, dtype: torch.dtype) -> None:
    for rows in ROWS.values():
        with pytest.raises(JobFailure, match="see each other") as caught:
            apart.require(Trainer(MIXED[name], "eager", dtype, rows), has_kernel=False)
        assert caught.value.help == "write `model.attn_implementation: sdpa`, and `trainer.packing: false`"
