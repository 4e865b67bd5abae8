"""What of a model's configuration decides how it is computed: facts ask it of config.json, the job of the model."""

from collections.abc import Callable
from typing import Final

# how configurations name what stands between logits and loss
SCALES: Final = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)


def is_scaled(setting: Callable[[str], object]) -> bool:
    """Whether logits are capped or scaled; `setting` gives the configuration's value by name, or None."""
    return any(setting(name) is not None for name in SCALES)


# how they name the share of attention's weights that is dropped while training
DROPOUTS: Final = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
# model types whose configuration has `output_router_logits` and a `router_aux_loss_coef` above 0 (transformers 5.17)
_BALANCING: Final = frozenset(
    (
        "deepseek_v4", "doge", "ernie4_5_moe", "ernie4_5_vl_moe", "ernie4_5_vl_moe_text", "flex_olmo", "glm5_next",
        "glm5_next_text", "gpt_oss", "granitemoe", "granitemoe_swa", "granitemoehybrid", "granitemoeshared", "jamba",
        "laguna", "llama4", "llama4_text", "mellum", "minimax", "minimax_m2", "minimax_m3_vl", "minimax_m3_vl_text",
        "mixtral", "nllb-moe", "olmoe", "openai_privacy_filter", "phimoe", "qwen2_moe", "qwen3_5_moe",
        "qwen3_5_moe_text", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_talker_text",
        "qwen3_omni_moe_text", "qwen3_omni_moe_thinker", "qwen4_exp", "qwen4_exp_text",
    )
)  # fmt: skip


def drops_attention(setting: Callable[[str], object]) -> bool:
    """Whether attention has dropout, which variable-length attention's kernel has not."""
    return any(isinstance(share := setting(name), float) and share > 0 for name in DROPOUTS)


def balances_experts(model_type: str) -> bool:
    """Whether TRL adds a router's loss for such a model: it does by itself, `trainer.extra` can forbid it."""
    return model_type in _BALANCING
