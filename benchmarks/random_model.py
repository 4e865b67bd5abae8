"""Models of well-known shapes with random weights, made on the device in seconds: speed does not depend on the
values.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, Qwen2Config
from transformers.models.llama import LlamaConfig

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def phi3_mini() -> PretrainedConfig:
    """Phi-3-mini-4k with its projections apart, as Unsloth publishes it: Llama's architecture, 3.82 B."""
    return LlamaConfig(
        vocab_size=32064, hidden_size=3072, intermediate_size=8192, num_hidden_layers=32, num_attention_heads=32
    )


def qwen_half() -> PretrainedConfig:
    """Qwen2.5-0.5B."""
    return Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )


def qwen_14b() -> PretrainedConfig:
    """Qwen2.5-14B."""
    return Qwen2Config(
        vocab_size=152064,
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=48,
        num_attention_heads=40,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    )


def qwen_32b() -> PretrainedConfig:
    """Qwen2.5-32B."""
    return Qwen2Config(
        vocab_size=152064,
        hidden_size=5120,
        intermediate_size=27648,
        num_hidden_layers=64,
        num_attention_heads=40,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    )


def tiny() -> PretrainedConfig:
    """For trying the benchmark itself."""
    return LlamaConfig(
        vocab_size=128, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4
    )


SHAPES = {"phi3-mini": phi3_mini, "qwen2.5-0.5b": qwen_half, "14b": qwen_14b, "32b": qwen_32b, "tiny": tiny}


def build(shape: str, attention: str, rank: int, alpha: int, dropout: float, quantised: bool, device: str) -> Any:
    """A PEFT model in bf16, or in NF4 with double quantisation, quantised layer by layer."""
    config = SHAPES[shape]()
    config.use_cache = False
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=attention)
    if quantised:
        _quantise(model, device)
    lora = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=SEVEN, task_type="CAUSAL_LM")
    return get_peft_model(model, lora)


def tokenizer() -> Any:
    """Two tokens and no text: rows come as ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


def unsloth(shape: str, rank: int, alpha: int, max_length: int, checkpointing: bool) -> Any:
    """The same model as Unsloth loads and adapts it, in 4 bits; it takes folders only, so one is kept."""
    from unsloth import FastLanguageModel

    folder = Path(tempfile.gettempdir()) / f"sftrun-random-{shape}"
    if not (folder / "tokenizer.json").exists():
        with torch.device("cuda"):
            made = AutoModelForCausalLM.from_config(SHAPES[shape](), dtype=torch.bfloat16)
        made.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        del made
        torch.cuda.empty_cache()
    base, _ = FastLanguageModel.from_pretrained(
        str(folder), max_seq_length=max_length, load_in_4bit=True, use_exact_model_name=True
    )
    return FastLanguageModel.get_peft_model(
        base,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=SEVEN,
        use_gradient_checkpointing="unsloth" if checkpointing else False,
        random_state=3407,
    )


def work_per_token(shape: str) -> int:
    """4 N: forward, and backward through frozen weights, of all products (the embedding is none)."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(SHAPES[shape]())
    count = sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Linear))
    return 4 * count


def _quantise(model: Any, device: str) -> None:
    import bitsandbytes as bnb

    for parent in list(model.model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear:
                continue
            layer = bnb.nn.Linear4bit(
                child.in_features,
                child.out_features,
                child.bias is not None,
                torch.bfloat16,
                True,
                "nf4",
                device="meta",
            )
            weight = bnb.nn.Params4bit(
                child.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True, module=layer
            )
            layer.weight, layer.bias = weight.to(device), child.bias
            setattr(parent, name, layer.requires_grad_(False))
    model.is_loaded_in_4bit = True
