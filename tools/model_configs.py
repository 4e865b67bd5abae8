"""Public configs of the models that people fine-tune most: only what decides names and shapes, and the published size.

`parameters` is the figure of the model's own page (its safetensors, a tied head counted once): the tool refuses to ship
facts that do not add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shipped:
    """One architecture; `also` are Hub ids with the very same shapes."""

    name: str
    model_type: str
    parameters: int
    config: dict[str, object]
    also: tuple[str, ...] = ()
    has_chat_template: bool = True
    gated: bool = False
    architecture: str = field(default="")


def _dense(
    vocab: int, hidden: int, mlp: int, layers: int, heads: int, kv: int, positions: int, **more: object
) -> dict[str, object]:
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "max_position_embeddings": positions,
    } | more


def _family(owner: str, stem: str, *endings: str) -> tuple[str, ...]:
    mirrors = tuple(f"unsloth/{stem}{ending}" for ending in endings)
    return tuple(f"{owner}/{stem}{ending}" for ending in endings) + mirrors


TIED = {"tie_word_embeddings": True}
UNTIED = {"tie_word_embeddings": False}
WINDOWLESS = {"use_sliding_window": False}
SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 896,
    "vision_use_head": False,
}

MODELS: tuple[Shipped, ...] = (
    Shipped(
        "microsoft/Phi-3-mini-4k-instruct",
        "phi3",
        3_821_079_552,
        _dense(32064, 3072, 8192, 32, 32, 32, 4096, sliding_window=2047, pad_token_id=32000, **UNTIED),
    ),
    Shipped(
        "unsloth/Phi-3-mini-4k-instruct",
        "mistral",
        3_821_079_552,
        _dense(32064, 3072, 8192, 32, 32, 32, 4096, sliding_window=2048, pad_token_id=32009, **UNTIED),
    ),
    Shipped(
        "microsoft/phi-4",
        "phi3",
        14_659_507_200,
        _dense(100352, 5120, 17920, 40, 40, 10, 16384, pad_token_id=100349, **UNTIED),
    ),
    Shipped(
        "unsloth/phi-4",
        "llama",
        14_659_507_200,
        _dense(100352, 5120, 17920, 40, 40, 10, 16384, pad_token_id=100351, **UNTIED),
    ),
    Shipped(
        "Qwen/Qwen2.5-0.5B-Instruct",
        "qwen2",
        494_032_768,
        _dense(151936, 896, 4864, 24, 14, 2, 32768, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-0.5B", "", "-Instruct") + _family("Qwen", "Qwen2.5-Coder-0.5B", "", "-Instruct"),
    ),
    Shipped(
        "Qwen/Qwen2.5-1.5B-Instruct",
        "qwen2",
        1_543_714_304,
        _dense(151936, 1536, 8960, 28, 12, 2, 32768, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-1.5B", "", "-Instruct") + _family("Qwen", "Qwen2.5-Coder-1.5B", "", "-Instruct"),
    ),
    Shipped(
        "Qwen/Qwen2.5-3B-Instruct",
        "qwen2",
        3_085_938_688,
        _dense(151936, 2048, 11008, 36, 16, 2, 32768, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-3B", "", "-Instruct") + _family("Qwen", "Qwen2.5-Coder-3B", "", "-Instruct"),
    ),
    Shipped(
        "Qwen/Qwen2.5-7B-Instruct",
        "qwen2",
        7_615_616_512,
        _dense(152064, 3584, 18944, 28, 28, 4, 32768, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-7B", "", "-Instruct") + _family("Qwen", "Qwen2.5-Coder-7B", "", "-Instruct"),
    ),
    Shipped(
        "Qwen/Qwen2.5-14B-Instruct",
        "qwen2",
        14_770_033_664,
        _dense(152064, 5120, 13824, 48, 40, 8, 32768, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-14B", "", "-Instruct") + _family("Qwen", "Qwen2.5-Coder-14B", "", "-Instruct"),
    ),
    Shipped(
        "Qwen/Qwen2.5-32B-Instruct",
        "qwen2",
        32_763_876_352,
        _dense(152064, 5120, 27648, 64, 40, 8, 32768, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-32B", "", "-Instruct") + _family("Qwen", "Qwen2.5-Coder-32B", "", "-Instruct"),
    ),
    Shipped(
        "Qwen/Qwen2.5-72B-Instruct",
        "qwen2",
        72_706_203_648,
        _dense(152064, 8192, 29568, 80, 64, 8, 32768, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen2.5-72B", "", "-Instruct"),
    ),
    Shipped(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "qwen2",
        1_777_088_000,
        _dense(151936, 1536, 8960, 28, 12, 2, 131072, **UNTIED, **WINDOWLESS),
        ("unsloth/DeepSeek-R1-Distill-Qwen-1.5B",),
    ),
    Shipped(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        "qwen2",
        7_615_616_512,
        _dense(152064, 3584, 18944, 28, 28, 4, 131072, **UNTIED, **WINDOWLESS),
        ("unsloth/DeepSeek-R1-Distill-Qwen-7B",),
    ),
    Shipped(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
        "qwen2",
        14_770_033_664,
        _dense(152064, 5120, 13824, 48, 40, 8, 131072, **UNTIED, **WINDOWLESS),
        ("unsloth/DeepSeek-R1-Distill-Qwen-14B",),
    ),
    Shipped(
        "Qwen/Qwen3-0.6B",
        "qwen3",
        596_049_920,
        _dense(151936, 1024, 3072, 28, 16, 8, 40960, head_dim=128, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-0.6B", "", "-Base"),
    ),
    Shipped(
        "Qwen/Qwen3-1.7B",
        "qwen3",
        1_720_574_976,
        _dense(151936, 2048, 6144, 28, 16, 8, 40960, head_dim=128, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-1.7B", "", "-Base"),
    ),
    Shipped(
        "Qwen/Qwen3-4B",
        "qwen3",
        4_022_468_096,
        _dense(151936, 2560, 9728, 36, 32, 8, 40960, head_dim=128, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-4B", "", "-Base"),
    ),
    Shipped(
        "Qwen/Qwen3-4B-Instruct-2507",
        "qwen3",
        4_022_468_096,
        _dense(151936, 2560, 9728, 36, 32, 8, 262144, head_dim=128, **TIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-4B", "-Instruct-2507", "-Thinking-2507"),
    ),
    Shipped(
        "Qwen/Qwen3-8B",
        "qwen3",
        8_190_735_360,
        _dense(151936, 4096, 12288, 36, 32, 8, 40960, head_dim=128, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-8B", "", "-Base"),
    ),
    Shipped(
        "Qwen/Qwen3-14B",
        "qwen3",
        14_768_307_200,
        _dense(151936, 5120, 17408, 40, 40, 8, 40960, head_dim=128, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-14B", "", "-Base"),
    ),
    Shipped(
        "Qwen/Qwen3-32B",
        "qwen3",
        32_762_123_264,
        _dense(151936, 5120, 25600, 64, 64, 8, 40960, head_dim=128, **UNTIED, **WINDOWLESS),
        _family("Qwen", "Qwen3-32B", ""),
    ),
    Shipped(
        "Qwen/Qwen3-30B-A3B",
        "qwen3_moe",
        30_532_122_624,
        _dense(
            151936,
            2048,
            6144,
            48,
            32,
            4,
            40960,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
            **UNTIED,
            **WINDOWLESS,
        ),
        _family("Qwen", "Qwen3-30B-A3B", "", "-Base"),
    ),
    Shipped(
        "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "qwen3_moe",
        30_532_122_624,
        _dense(
            151936,
            2048,
            6144,
            48,
            32,
            4,
            262144,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
            **UNTIED,
            **WINDOWLESS,
        ),
        _family("Qwen", "Qwen3-30B-A3B", "-Instruct-2507", "-Thinking-2507")
        + _family("Qwen", "Qwen3-Coder-30B-A3B", "-Instruct"),
    ),
    Shipped(
        "meta-llama/Llama-3.2-1B-Instruct",
        "llama",
        1_235_814_400,
        _dense(128256, 2048, 8192, 16, 32, 8, 131072, head_dim=64, **TIED),
        _family("meta-llama", "Llama-3.2-1B", "", "-Instruct"),
        gated=True,
    ),
    Shipped(
        "meta-llama/Llama-3.2-3B-Instruct",
        "llama",
        3_212_749_824,
        _dense(128256, 3072, 8192, 28, 24, 8, 131072, head_dim=128, **TIED),
        _family("meta-llama", "Llama-3.2-3B", "", "-Instruct"),
        gated=True,
    ),
    Shipped(
        "meta-llama/Llama-3.1-8B-Instruct",
        "llama",
        8_030_261_248,
        _dense(128256, 4096, 14336, 32, 32, 8, 131072, **UNTIED),
        (
            "meta-llama/Llama-3.1-8B",
            "meta-llama/Meta-Llama-3.1-8B",
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
            "unsloth/Llama-3.1-8B",
            "unsloth/Llama-3.1-8B-Instruct",
            "unsloth/Meta-Llama-3.1-8B",
            "unsloth/Meta-Llama-3.1-8B-Instruct",
            "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
            "unsloth/DeepSeek-R1-Distill-Llama-8B",
        ),
        gated=True,
    ),
    Shipped(
        "meta-llama/Llama-3.3-70B-Instruct",
        "llama",
        70_553_706_496,
        _dense(128256, 8192, 28672, 80, 64, 8, 131072, **UNTIED),
        ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B", "unsloth/Llama-3.3-70B-Instruct"),
        gated=True,
    ),
    Shipped(
        "mistralai/Mistral-7B-Instruct-v0.3",
        "mistral",
        7_248_023_552,
        _dense(32768, 4096, 14336, 32, 32, 8, 32768, sliding_window=None, **UNTIED),
        ("mistralai/Mistral-7B-v0.3", "unsloth/mistral-7b-v0.3", "unsloth/mistral-7b-instruct-v0.3"),
    ),
    Shipped(
        "mistralai/Mistral-7B-Instruct-v0.2",
        "mistral",
        7_241_732_096,
        _dense(32000, 4096, 14336, 32, 32, 8, 32768, sliding_window=None, **UNTIED),
        ("unsloth/mistral-7b-instruct-v0.2",),
    ),
    Shipped(
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "mixtral",
        46_702_792_704,
        _dense(
            32000,
            4096,
            14336,
            32,
            32,
            8,
            32768,
            sliding_window=None,
            num_local_experts=8,
            num_experts_per_tok=2,
            **UNTIED,
        ),
        ("mistralai/Mixtral-8x7B-v0.1",),
    ),
    Shipped(
        "google/gemma-2-2b-it",
        "gemma2",
        2_614_341_888,
        _dense(
            256000, 2304, 9216, 26, 8, 4, 8192, head_dim=256, sliding_window=4096, attn_logit_softcapping=50.0, **TIED
        ),
        _family("google", "gemma-2-2b", "", "-it"),
        gated=True,
    ),
    Shipped(
        "google/gemma-2-9b-it",
        "gemma2",
        9_241_705_984,
        _dense(
            256000, 3584, 14336, 42, 16, 8, 8192, head_dim=256, sliding_window=4096, attn_logit_softcapping=50.0, **TIED
        ),
        _family("google", "gemma-2-9b", "", "-it"),
        gated=True,
    ),
    Shipped(
        "google/gemma-3-270m-it",
        "gemma3_text",
        268_098_176,
        _dense(262144, 640, 2048, 18, 4, 1, 32768, head_dim=256, sliding_window=512, **TIED),
        _family("google", "gemma-3-270m", "", "-it"),
        gated=True,
    ),
    Shipped(
        "google/gemma-3-1b-it",
        "gemma3_text",
        999_885_952,
        _dense(262144, 1152, 6912, 26, 4, 1, 32768, head_dim=256, sliding_window=512, **TIED),
        _family("google", "gemma-3-1b", "-pt", "-it"),
        gated=True,
    ),
    Shipped(
        "google/gemma-3-4b-it",
        "gemma3",
        4_300_079_472,
        {
            "text_config": _dense(262208, 2560, 10240, 34, 8, 4, 131072, head_dim=256, sliding_window=1024),
            "vision_config": SIGLIP,
            "mm_tokens_per_image": 256,
        }
        | TIED,
        _family("google", "gemma-3-4b", "-pt", "-it"),
        gated=True,
    ),
    Shipped(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "llama",
        134_515_008,
        _dense(49152, 576, 1536, 30, 9, 3, 8192, **TIED),
        _family("HuggingFaceTB", "SmolLM2-135M", "", "-Instruct"),
    ),
    Shipped(
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "llama",
        361_821_120,
        _dense(49152, 960, 2560, 32, 15, 5, 8192, **TIED),
        _family("HuggingFaceTB", "SmolLM2-360M", "", "-Instruct"),
    ),
    Shipped(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "llama",
        1_711_376_384,
        _dense(49152, 2048, 8192, 24, 32, 32, 8192, **TIED),
        _family("HuggingFaceTB", "SmolLM2-1.7B", "", "-Instruct"),
    ),
    Shipped(
        "HuggingFaceTB/SmolLM3-3B",
        "smollm3",
        3_075_098_624,
        _dense(128256, 2048, 11008, 36, 16, 4, 65536, **TIED, **WINDOWLESS),
        ("HuggingFaceTB/SmolLM3-3B-Base", "unsloth/SmolLM3-3B"),
    ),
    Shipped(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "llama",
        1_100_048_384,
        _dense(32000, 2048, 5632, 22, 32, 4, 2048, **UNTIED),
        ("unsloth/tinyllama", "unsloth/tinyllama-chat"),
    ),
)
