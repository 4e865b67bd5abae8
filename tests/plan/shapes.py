"""The shapes that the figures of docs/estimates.md were measured with."""

from typing import Any

from sftrun.contract.jobspec import LoraSpec, ModelSpec, QuantizationSpec, TrainerSpec
from sftrun.facts.gpus import catalog
from sftrun.facts.values import Gpu, Linear, ModelFacts
from sftrun.plan.estimate.setup import Setup
from sftrun.step.given import Machine, Model
from tests import steps

HIDDEN, INNER, LAYERS, VOCAB = 3072, 8192, 32, 32064
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def gpu(name: str = "H200") -> Gpu:
    found = catalog.find(catalog.shipped(), name)
    assert found is not None
    return found


def phi3() -> ModelFacts:
    """Phi-3-mini with its projections apart: 3.82 B."""
    sizes = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), (HIDDEN, HIDDEN))
    sizes |= {"gate_proj": (HIDDEN, INNER), "up_proj": (HIDDEN, INNER), "down_proj": (INNER, HIDDEN)}
    linears = tuple(Linear(name=n, in_features=i, out_features=o, count=LAYERS) for n, (i, o) in sizes.items())
    weights = sum(x.in_features * x.out_features * x.count for x in linears)
    norms = (2 * LAYERS + 1) * HIDDEN
    return ModelFacts(
        source="shipped",
        name_or_path="phi3",
        commit=None,
        architecture="LlamaForCausalLM",
        model_type="llama",
        parameters=weights + 2 * VOCAB * HIDDEN + norms,
        embedding_parameters=2 * VOCAB * HIDDEN,
        other_parameters=norms,
        linears=linears,
        dtype="bfloat16",
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        layers=LAYERS,
        attention_heads=32,
        key_value_heads=32,
        head_dim=96,
        vocab_size=VOCAB,
        max_positions=4096,
        tie_word_embeddings=False,
    )


def deeper(times: int) -> ModelFacts:
    """Phi-3-mini with so many times its layers."""
    base = phi3()
    linears = tuple(one.model_copy(update={"count": one.count * times}) for one in base.linears)
    more = sum(one.in_features * one.out_features * one.count for one in base.linears) * (times - 1)
    return base.model_copy(
        update={"linears": linears, "layers": base.layers * times, "parameters": base.parameters + more}
    )


def narrower(times: int) -> ModelFacts:
    """Phi-3-mini with layers so many times as narrow."""
    base = phi3()
    linears = tuple(
        one.model_copy(update={"in_features": one.in_features // times, "out_features": one.out_features // times})
        for one in base.linears
    )
    weights = sum(one.in_features * one.out_features * one.count for one in linears)
    rest = (base.embedding_parameters + base.other_parameters) // times
    changed = {"hidden_size": HIDDEN // times, "intermediate_size": INNER // times, "attention_heads": 32 // times}
    changed |= {"key_value_heads": 32 // times, "parameters": weights + rest}
    return base.model_copy(update={"linears": linears, **changed})


def trainer(**values: object) -> TrainerSpec:
    base: dict[str, object] = {"packing": True, "max_length": 2048, "per_device_train_batch_size": 8}
    return TrainerSpec.model_validate(base | values)


def setup(
    *,
    nf4: bool = True,
    rank: int | None = 16,
    gpus: int = 1,
    saved: tuple[str, ...] = (),
    shape: Model = Model(vocab_size=VOCAB),  # noqa: B008
    **values: Any,
) -> Setup:
    """`values`: settings of the trainer, what is chosen of how steps are computed, and fields of the step's plan."""
    made = trainer(**{name: value for name, value in values.items() if name in TrainerSpec.model_fields})
    chosen = {name: value for name, value in values.items() if name not in TrainerSpec.model_fields}
    spec, quantization = ModelSpec(name_or_path="phi3"), QuantizationSpec(load_in_4bit=True) if nf4 else None
    lora = None if rank is None else LoraSpec(r=rank, lora_alpha=16.0, target_modules=SEVEN, modules_to_save=saved)
    machine = Machine(gpus, has_gpu=True)
    step = steps.plan(spec, made, quantization, lora, machine=machine, shape=shape, **chosen)
    return Setup(phi3(), spec, made, quantization, lora, step, gpus)
