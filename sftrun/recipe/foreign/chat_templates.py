"""The chat templates of other tools that print what one of ours prints, by their names.

axolotl's and LLaMA-Factory's were rendered beside ours on 2026-12-01: conversations with and without a system turn, of
one turn and of two, without tools.  Unsloth's go by their names alone.  A tool's own name that stands here for none of
ours prints something that no template here does.
"""

_CHATML = "chatml"

NAMES: dict[str, dict[str, str]] = {
    "axolotl": {
        "chatml": _CHATML,
        "nemotron_h": _CHATML,
        "aya": "cohere",
        "cohere": "cohere",
        "deepseek_v3": "deepseekv3",
        "falcon_h1": "lfm2",
        "gemma": "gemma",
        "gemma3": "gemma3",
        "gemma3n": "gemma3",
        "gemma4": "gemma4",
        "gemma4_unified": "gemma4",
        "llama3": "llama3",
        "qwen2_vl": "qwen2_5_vl",
        "qwen3": "qwen3",
        "qwen3_5": "qwen3",
        "qwen_25": "qwen2_5",
    },
    "unsloth": {
        "chatml": _CHATML,
        "llama-3": "llama3",
        "llama3": "llama3",
        "gemma-3": "gemma3",
        "gemma3": "gemma3",
        "qwen-2.5": "qwen2_5",
        "qwen2.5": "qwen2_5",
        "qwen25": "qwen2_5",
    },
    # those of gemma and llama3 cut the blanks at the ends of a turn, LLaMA-Factory's do not
    "llama_factory": {
        "chatml": _CHATML,
        "qwen3_nothink": _CHATML,
        "qwen3_5_nothink": _CHATML,
        "qwen3_vl_nothink": _CHATML,
        "smollm": _CHATML,
        "yi": _CHATML,
        "cpm4": "lfm2",
        "falcon_h1": "lfm2",
        "intern_s1": "lfm2",
        "gemma": "gemma3",
        "gemma2": "gemma3",
        "gemma3": "gemma3",
        "gemma3n": "gemma3",
        "llama3": "llama3",
        "ministral": "mistral_tekken",
        "ministral3": "mistral_tekken",
        "mistral": "mistral_v3",
        "mistral_small": "mistral_v7",
        "phi4": "phi4",
        "phi4_mini": "phi4_mini",
        "qwen": "qwen2_5",
        "qwen2_vl": "qwen2_5_vl",
    },
}
