"""Folders of small models that differ in what decides how a step is computed, all with the tiny tokenizer."""

import shutil
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

from tests.job import tiny

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 264,
    "max_position_embeddings": 512,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "an odd vocabulary": Qwen2Config(**SIZES | {"vocab_size": 263}),
    "scaled logits": GraniteConfig(**SIZES, logits_scaling=2.0),
    "a head with a bias": PhiConfig(**SIZES | {"num_key_value_heads": 4}),
    "a router's loss": Qwen3MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
    "capped scores": Gemma2Config(**SIZES),
    "attention with dropout": LlamaConfig(**SIZES, attention_dropout=0.1),
    "large heads": LlamaConfig(**SIZES | {"head_dim": 264}),
    "weights of odd width": LlamaConfig(**SIZES | {"hidden_size": 96}),
}


def save(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    tiny.make_model(folder / "tokenizer")
    AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.bfloat16).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / "tokenizer" / file, folder / file)
    shutil.rmtree(folder / "tokenizer")
    return folder
