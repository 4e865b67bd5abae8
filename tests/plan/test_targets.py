"""Our count of trained parameters is PEFT's own, to the last digit."""

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from sftrun.contract.jobspec import LoraSpec  # noqa: E402
from sftrun.facts.model import shapes  # noqa: E402
from sftrun.facts.model.lookup import shipped_facts  # noqa: E402
from sftrun.facts.model.tensor_names import Tensor  # noqa: E402
from sftrun.facts.values import ModelFacts  # noqa: E402
from sftrun.job.train import arguments  # noqa: E402
from sftrun.plan.decide import resolve  # noqa: E402
from sftrun.plan.decide.decisions import Decisions  # noqa: E402
from sftrun.plan.targets import EXPERT_NAMES, reach  # noqa: E402
from sftrun.recipe.models import Lora  # noqa: E402
from tests.plan.samples import recipe  # noqa: E402
from tests.plan.shapes import setup as shapes_of_a_setup  # noqa: E402

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS = {
    "qwen2": {"tie_word_embeddings": True},
    "llama": {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
    "phi3": {},
    "gemma2": {"head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 100},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24},
    "gpt_oss": {"num_local_experts": 4, "head_dim": 8},
    "olmoe": {"num_experts": 4},
}
SECTIONS = {
    "all-linear": {},
    "the seven": {"target_modules": SEVEN},
    "two": {"target_modules": ("q_proj", "v_proj"), "r": 5},
    "one layer": {"target_modules": ("layers.1.self_attn.o_proj",)},
    "every bias": {"bias": "all"},
    "biases beside adapters": {"bias": "lora_only", "target_modules": ("q_proj", "o_proj")},
    "rank-stabilised": {"use_rslora": True},
    "the head saved": {"target_modules": ("q_proj",), "modules_to_save": ("lm_head",)},
    "the embedding saved": {"target_modules": ("q_proj",), "modules_to_save": ("embed_tokens",)},
    "both saved": {"target_modules": ("q_proj",), "modules_to_save": ("embed_tokens", "lm_head")},
    "norms saved": {"target_modules": ("q_proj",), "modules_to_save": ("input_layernorm",)},
    "a whole block saved": {"target_modules": ("q_proj", "o_proj"), "modules_to_save": ("self_attn",)},
    "the embedding": {"target_modules": ("embed_tokens", "lm_head", "q_proj")},
    "other first values": {"init_lora_weights": "gaussian"},
    "some left out": {"exclude_modules": ("o_proj", "layers.1.mlp.down_proj")},
    "left out by a pattern": {"target_modules": SEVEN, "exclude_modules": r".*layers\.[02]\..*"},
    "two layers": {"target_modules": (*SEVEN, "lm_head"), "layers_to_transform": (0, 2)},
    "two ranks": {"rank_pattern": {"o_proj": 3, "layers.1.self_attn.o_proj": 8, r"layers\.2\..*_proj": 5}},
    "a rank of the experts": {"rank_pattern": {"down_proj": 3, "gate_up_proj": 6, "gate.weight": 2}},
}
PATTERNS = {
    "a pattern": {"target_modules": r".*self_attn\.(q|v)_proj"},
    "a pattern of layers": {"target_modules": r".*\.layers\.[12]\..*(o|down)_proj"},
    "a pattern of one name": {"target_modules": "lm_head"},
    "a pattern of an end": {"target_modules": "self_attn.q_proj"},
    "a pattern, but some": {
        "target_modules": r"model\..*_proj",
        "exclude_modules": ("q_proj",),
        "rank_pattern": {"v_proj": 4},
    },
}
DENSE = ("qwen2", "llama", "phi3", "gemma2", "gpt2", "gpt_oss")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with pytest.MonkeyPatch.context():
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def build(model_type: str, **config: object) -> "torch.nn.Module":
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(model_type, **config))


def facts_of(model: "torch.nn.Module") -> ModelFacts:
    tensors = {name: Tensor("F32", tuple(weight.shape)) for name, weight in model.named_parameters()}
    return shapes.facts(tensors, model.config.to_dict(), source="folder", name_or_path="x")


def counted_by_peft(model: "torch.nn.Module", lora: Lora) -> tuple[int, int]:
    config = peft.LoraConfig(**arguments.lora_config(resolved(lora, model)))
    return peft.get_peft_model(model, config).get_nb_trainable_parameters()


def resolved(lora: Lora, model: "torch.nn.Module") -> LoraSpec:
    """As a job is told."""
    spec = resolve.lora(recipe(lora=lora.model_dump()), facts_of(model), Decisions())
    assert spec is not None
    return spec


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", SECTIONS)
def test_the_count_is_peft_s_own(kind: str, section: str) -> None:
    _is_peft_s_own(kind, Lora(**SECTIONS[section]))


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("section", PATTERNS)
def test_the_count_of_a_regular_expression_is_peft_s_own(kind: str, section: str) -> None:
    _is_peft_s_own(kind, Lora(**PATTERNS[section]))


def _is_peft_s_own(kind: str, lora: Lora) -> None:
    model = build(kind, **({} if kind == "gpt2" else SMALL) | KINDS[kind])
    found = reach(lora, facts_of(model))
    if not found.reached:
        with pytest.raises(ValueError, match=r"not found|No modules were targeted|were excluded"):
            counted_by_peft(model, lora)
        return
    assert (found.trainable_parameters, found.all_parameters) == counted_by_peft(model, lora)


def test_dora_adds_a_magnitude_for_each_output() -> None:
    # PEFT computes the magnitudes' first values: the weights must be real
    model, lora = (
        transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model("llama", **SMALL)),
        Lora(use_dora=True),
    )
    facts = facts_of(model)
    assert reach(lora, facts).trainable_parameters == counted_by_peft(model, lora)[0]


@pytest.mark.parametrize(
    ("name", "r", "targets", "trainable", "everything"),
    [
        ("unsloth/Phi-3-mini-4k-instruct", 16, SEVEN, 29_884_416, 3_850_963_968),
        ("microsoft/Phi-3-mini-4k-instruct", 16, SEVEN, 8_912_896, 3_829_992_448),
        ("Qwen/Qwen2.5-0.5B-Instruct", 16, SEVEN, 8_798_208, 502_830_976),
        ("Qwen/Qwen2.5-0.5B-Instruct", 32, SEVEN, 17_596_416, 511_629_184),
    ],
)
def test_shipped_facts_give_the_known_figures(
    name: str, r: int, targets: tuple[str, ...], trainable: int, everything: int
) -> None:
    facts = shipped_facts(name)
    assert facts is not None
    found = reach(Lora(r=r, target_modules=targets), facts)
    assert (found.trainable_parameters, found.all_parameters) == (trainable, everything)


def test_experts_that_peft_translates_are_those_listed() -> None:
    from peft.utils import transformers_weight_conversion as conversion

    translated = {
        kind: base
        for kind, base in conversion._MODEL_TO_CONVERSION_PATTERN.items()
        if base in conversion._MOE_FUSED_TARGETS
    }
    assert set(EXPERT_NAMES) == set(translated)
    for kind, base in translated.items():
        mapping = {old: new.removesuffix(".weight") for old, new in conversion._MOE_TARGET_MODULE_MAPPING[base].items()}
        assert EXPERT_NAMES[kind] == mapping


@pytest.mark.parametrize(
    "section",
    [
        {"target_modules": SEVEN, "layers_to_transform": (0, 3)},
        {"target_modules": r".*layers\.[0-4]\..*_proj", "exclude_modules": ("down_proj",)},
        {"rank_pattern": {"down_proj": 32, r"layers\.1\..*": 4}, "use_dora": True},
        {"modules_to_save": ("o_proj",)},
    ],
)
def test_memory_and_time_count_the_same_adapters(section: dict[str, object]) -> None:
    facts, lora = shipped_facts("Qwen/Qwen2.5-0.5B-Instruct"), Lora.model_validate(section)
    assert facts is not None
    setup = shapes_of_a_setup(rank=1, nf4=False)._replace(model=facts, lora=LoraSpec(**lora.model_dump()))
    assert setup.adapter_parameters == reach(lora, facts).adapter_parameters
