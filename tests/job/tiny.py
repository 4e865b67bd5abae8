"""A random Qwen2 of 100,000 weights with a byte tokenizer, made without torch in milliseconds; and jobs for it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from sftrun.contract.jobspec import DatasetSpec, DataSource, JobSpec, LoraSpec, ModelSpec, SampleSpec, TrainerSpec
from tests import steps

HIDDEN, LAYERS, HEADS, INNER = 64, 2, 2, 128
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
UNMARKED_TEMPLATE = CHAT_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = len(SPECIAL) + 256


def make_model(folder: Path, *, chat_template: str = CHAT_TEMPLATE) -> Path:
    """Config, weights and tokenizer of a causal LM that knows nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _save_tokenizer(folder, chat_template)
    save_weights(folder, vocabulary)
    return folder


def make_rows(count: int) -> list[dict[str, str]]:
    """Instruction rows of varying length."""
    return [
        {
            "instruction": f"Add {i} and {i * 3}." + " Please." * (i % 5),
            "input": "",
            "output": f"{i * 4}" + "!" * (i % 3),
        }
        for i in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_job(folder: Path, model: Path, data: Path, **changes: Any) -> JobSpec:
    """Eight steps of LoRA with a checkpoint each third; `changes` go to the sections by name, as mappings or values.

    `step`: what is chosen of how steps are computed (`tests.steps`).
    """
    trainer = {
        "max_steps": 8,
        "max_length": 256,
        "per_device_train_batch_size": 2,
        "logging_steps": 2,
        "save_steps": 3,
        "save_total_limit": 2,
        "learning_rate": 1e-2,
        "optim": "adamw_torch",
        "bf16": False,
        "seed": 7,
    }
    sections: dict[str, Any] = {
        "run_id": "r1",
        "name": "tiny",
        "record_dir": str(folder / "record"),
        "output_dir": str(folder / "out" / "adapter"),
        "checkpoints_dir": str(folder / "checkpoints"),
        "model": ModelSpec(name_or_path=str(model), dtype="float32"),
        "lora": LoraSpec(r=4, lora_alpha=8.0, lora_dropout=0.1),
        "dataset": DatasetSpec(train=(DataSource(files=(str(data),)),)),
        "trainer": TrainerSpec(**(trainer | changes.pop("trainer", {}))),
        "samples": SampleSpec(),
        "cpu_threads": 1,
    }
    step = changes.pop("step", {})
    return steps.job(sections | changes, **step)


def _save_tokenizer(folder: Path, chat_template: str) -> int:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": chat_template,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocab)


def save_weights(folder: Path, vocabulary: int) -> None:
    """Config and weights alone, for as many tokens."""
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": vocabulary,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    draw = np.random.default_rng(0)

    def matrix(*shape: int) -> Any:
        return draw.normal(0, 0.05, shape).astype(np.float32)

    weights = {
        "model.embed_tokens.weight": matrix(vocabulary, HIDDEN),
        "model.norm.weight": np.ones(HIDDEN, np.float32),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj"):
            weights |= {
                f"{at}self_attn.{name}.weight": matrix(HIDDEN, HIDDEN),
                f"{at}self_attn.{name}.bias": matrix(HIDDEN),
            }
        weights[f"{at}self_attn.o_proj.weight"] = matrix(HIDDEN, HIDDEN)
        weights |= {f"{at}mlp.{name}.weight": matrix(INNER, HIDDEN) for name in ("gate_proj", "up_proj")}
        weights[f"{at}mlp.down_proj.weight"] = matrix(HIDDEN, INNER)
        weights |= {
            f"{at}{name}.weight": np.ones(HIDDEN, np.float32)
            for name in ("input_layernorm", "post_attention_layernorm")
        }
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
