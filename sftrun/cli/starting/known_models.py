"""Models to begin with: their shapes ship with the program, so that a run is priced before a byte is fetched."""

from typing import Final, NamedTuple

from sftrun.facts.model.lookup import shipped_facts

TINY: Final = "builtin:tiny"


class Known(NamedTuple):
    """One model: billions of parameters, licence, and whether its owner wants to be asked first."""

    name: str
    billions: float
    licence: str
    is_gated: bool = False


# smallest first; each is an instruct model with a chat template of its own
LICENCES: Final = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "Apache-2.0",
    "google/gemma-3-270m-it": "Gemma's terms",
    "HuggingFaceTB/SmolLM2-360M-Instruct": "Apache-2.0",
    "Qwen/Qwen2.5-0.5B-Instruct": "Apache-2.0",
    "Qwen/Qwen3-0.6B": "Apache-2.0",
    "meta-llama/Llama-3.2-1B-Instruct": "Llama 3.2's licence",
    "Qwen/Qwen2.5-1.5B-Instruct": "Apache-2.0",
    "Qwen/Qwen3-1.7B": "Apache-2.0",
    "meta-llama/Llama-3.2-3B-Instruct": "Llama 3.2's licence",
    "microsoft/Phi-3-mini-4k-instruct": "MIT",
    "Qwen/Qwen3-4B-Instruct-2507": "Apache-2.0",
    "google/gemma-3-4b-it": "Gemma's terms",
    "mistralai/Mistral-7B-Instruct-v0.3": "Apache-2.0",
    "Qwen/Qwen2.5-7B-Instruct": "Apache-2.0",
    "meta-llama/Llama-3.1-8B-Instruct": "Llama 3.1's licence",
    "Qwen/Qwen3-8B": "Apache-2.0",
    "Qwen/Qwen2.5-14B-Instruct": "Apache-2.0",
    "microsoft/phi-4": "MIT",
    "Qwen/Qwen2.5-32B-Instruct": "Apache-2.0",
}
BY_GOAL: Final = {
    "try": ("Qwen/Qwen2.5-0.5B-Instruct",),
    "good": ("Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3-1.7B", "Qwen/Qwen2.5-0.5B-Instruct"),
    "best": (
        *("Qwen/Qwen2.5-14B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3-1.7B"),
        "Qwen/Qwen2.5-0.5B-Instruct",
    ),
}


def about(name: str) -> Known | None:
    """What is known of a model; None where nothing is."""
    if name == TINY:
        return Known(TINY, 0.002, "Apache-2.0, ships with the program")
    facts = shipped_facts(name)
    if facts is None:
        return None
    return Known(name, facts.parameters / 1e9, LICENCES.get(name, "see its page"), facts.gated)


def words(name: str) -> str:
    """`4.0 B parameters, Apache-2.0`; empty where nothing is known."""
    known = about(name)
    if known is None:
        return ""
    size = f"{known.billions:.1f} B" if known.billions >= 1 else f"{known.billions * 1000:.0f} M"
    return f"{size} parameters, {known.licence}" + (", to be asked for on its page" if known.is_gated else "")
