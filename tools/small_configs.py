"""A tiny configuration of any model type of transformers: few layers, one of each kind; small widths; 96 words."""

from typing import Any, Final

from transformers import CONFIG_MAPPING

WORDS: Final = 96
_WIDTH, _HEADS, _KEY_HEADS, _HEAD, _INNER = 32, 4, 2, 8, 48

# what configurations call their sizes -> the small one
SIZES: Final[dict[str, Any]] = (
    dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size", "max_position_embeddings"), WORDS)
    | dict.fromkeys(
        (
            "hidden_size", "d_model", "n_embd", "embedding_size", "word_embed_proj_dim", "embedding_dim", "emb_dim",
            "input_embedding_size", "output_embedding_size", "backbone_hidden_size", "lru_width", "out_hidden_size",
            "vision_output_dim", "projector_output_dim", "projector_input_dim", "output_hidden_size",
        ),
        _WIDTH,
    )
    | dict.fromkeys(
        (
            "num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "encoder_attention_heads",
            "num_decoder_attention_heads", "num_encoder_attention_heads", "attention_heads", "num_heads",
            "swa_num_attention_heads", "linear_num_heads",
        ),
        _HEADS,
    )
    | dict.fromkeys(
        ("num_key_value_heads", "num_kv_heads", "num_query_groups", "swa_num_key_value_heads", "linear_num_key_heads"),
        _KEY_HEADS,
    )
    | {"linear_num_value_heads": _HEADS}
    | dict.fromkeys(
        (
            "head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "linear_key_head_dim", "d_head",
            "linear_value_head_dim", "linear_head_dim", "index_head_dim", "swa_head_dim", "kv_channels", "dim_head",
            "attention_head_size", "global_head_dim", "swa_v_head_dim", "query_pre_attn_scalar",
        ),
        _HEAD,
    )
    | {"qk_head_dim": 2 * _HEAD, "rotary_dim": 4, "index_n_heads": 2, "index_topk": 64}
    | dict.fromkeys(("kv_lora_rank", "q_lora_rank", "o_lora_rank", "hidden_size_per_layer_input", "laurel_rank"), 16)
    | dict.fromkeys(
        (
            "intermediate_size", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff",
            "intermediate_size_mlp", "n_inner", "feed_forward_size", "d_inner", "shared_intermediate_size",
            "dense_intermediate_size",
        ),
        _INNER,
    )
    | dict.fromkeys(
        (
            "moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size",
            "moe_shared_expert_intermediate_size", "router_hidden_size",
        ),
        24,
    )
    | dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "zero_expert_num"), 4
    )
    | dict.fromkeys(
        ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k", "top_k_experts"), 2
    )
    | dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "moe_num_shared_experts"), 1)
    | dict.fromkeys(
        (
            "num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers", "num_blocks",
            "num_decoder_layers", "num_encoder_layers", "num_layers_per_stack", "depth", "conf_num_hidden_layers",
            "num_global_layers",
        ),
        2,
    )
    | dict.fromkeys(("n_positions", "n_ctx", "max_seq_len", "context_length", "max_target_positions"), WORDS)
    | dict.fromkeys(("sliding_window", "local_attention", "window_size", "attention_window_size"), 4)
    | {"sliding_window_size": 4, "layer_rope_theta": None, "state_size": 8, "mamba_d_state": 8, "ssm_state_size": 8}
    | {"time_step_rank": 4, "mamba_dt_rank": 4, "first_k_dense_replace": 1, "num_dense_layers": 1}
    | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "sep_token_id": 2}
    | {"image_size": 32, "patch_size": 8, "num_kv_shared_layers": 0}
)  # fmt: skip

_ALWAYS: Final = ("head_dim", "num_key_value_heads")  # also where the configuration says None
_MAMBA2: Final = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_chunk_size": 8, "mamba_expand": 2}
_HYBRID: Final = {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]}
# what the sizes above don't make consistent
SPECIAL: Final[dict[str, dict[str, Any]]] = {
    "bamba": _MAMBA2 | {"attn_layer_indices": [1]},
    "bloom": {"n_head": 4},
    "cohere_compass_text": {
        "rope_parameters": {
            name: {"rope_theta": 10000.0, "rope_type": "default"} for name in ("full_attention", "sliding_attention")
        }
    },
    "ctrl": {"n_head": 4},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": _INNER, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "falcon": {"num_kv_heads": 4},
    "falcon_h1": _MAMBA2 | {"mamba_d_ssm": 64},
    "falcon_mamba": {"intermediate_size": 64, "expand": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "max_position_embeddings": WORDS},
    "granitemoehybrid": _MAMBA2 | {"layer_types": ["mamba", "attention"]},
    "gemma3n_text": {"activation_sparsity_pattern": [0.5, 0.0]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba": {"intermediate_size": 64, "expand": 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8, "expand": 2},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 1, "chunk_size": 8},
    "qwen3_5": _HYBRID,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "rwkv": {"attention_hidden_size": _WIDTH},
    "reformer": {"axial_pos_embds": False, "is_decoder": True, "attn_layers": ["local", "lsh"]},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": _HEAD,
        "indexer_budget": 64,
        "indexer_compress_ratio": 4,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
    "zamba2": {"mamba_headdim": 16, "n_mamba_heads": 4, "mamba_ngroups": 1, "chunk_size": 8},
}


def small(model_type: str) -> Any:
    """A configuration object.  Raises whatever the library raises where sizes do not fit one another."""
    kind = CONFIG_MAPPING[model_type]
    return kind(**_shrunk(kind().to_dict(), model_type))


def _shrunk(settings: dict[str, Any], model_type: str) -> dict[str, Any]:
    """Settings of a configuration, and of those inside it, with small sizes."""
    found = {
        name: SIZES[name] for name in settings if name in SIZES and (settings[name] is not None or name in _ALWAYS)
    }
    for name, inner in settings.items():
        if isinstance(inner, dict) and "model_type" in inner:
            found[name] = {"model_type": inner["model_type"]} | _shrunk(inner, inner["model_type"])
    if "kv_lora_rank" in found and "num_key_value_heads" in found:  # latent attention has one of each
        found["num_key_value_heads"] = _HEADS
    return found | _layers(settings, found) | SPECIAL.get(model_type, {})


def _layers(settings: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """As many layers as there are kinds, each once; two at least."""
    names = [name for name in ("layer_types", "layers_block_type", "mlp_layer_types") if settings.get(name)]
    kinds = {name: list(dict.fromkeys(settings[name])) for name in names}
    count = max([2, *map(len, kinds.values())])
    lists = {name: (of * count)[:count] for name, of in kinds.items()}
    return lists | ({"num_hidden_layers": count} if names and "num_hidden_layers" in found else {})
