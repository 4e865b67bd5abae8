"""The fast path trains what PEFT trains: same loss, same gradients, same names."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from sftrun.job import attention, lora_linear, nf4, speed

bnb = pytest.importorskip("bitsandbytes")

CONFIG = LlamaConfig(
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=61,
    attention_bias=True,
)


def quantise(model: Any) -> None:
    for parent in list(model.model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                sizes = (child.in_features, child.out_features, child.bias is not None)
                layer = bnb.nn.Linear4bit(*sizes, compute_dtype=torch.float32, quant_type="nf4")
                layer.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4", module=layer)
                layer.bias = child.bias
                setattr(parent, name, layer.to("cpu"))
    model.is_loaded_in_4bit = True


def build(quantised: bool, targets: str | list[str] = "all-linear", dropout: float = 0.0) -> Any:
    attention.register()
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIG, attn_implementation="varlen")
    if quantised:
        quantise(model)
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, lora_dropout=dropout))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = torch.randn_like(weight, dtype=torch.float32) * 0.05
    return model


def step(model: Any) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(5)
    lengths = (5, 9, 4, 1)
    ids = torch.randint(0, 61, (1, sum(lengths)))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    loss = nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return loss, found


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    squares = sum(float((found[name] - wanted[name]).square().sum()) for name in wanted)
    return (squares / sum(float(grad.square().sum()) for grad in wanted.values())) ** 0.5


@pytest.mark.parametrize(("quantised", "dequantize"), [(True, True), (True, False), (False, True)])
def test_fused_products_have_pefts_loss_and_gradients(quantised: bool, dequantize: bool) -> None:
    plain, fast = build(quantised), build(quantised)
    prepared = speed.prepare(fast, compile_layers=False, dequantize=dequantize)
    wanted, found = step(plain), step(fast)
    torch.testing.assert_close(found[0], wanted[0])
    assert found[1].keys() == wanted[1].keys()
    assert distance(found[1], wanted[1]) < 1e-4
    assert len(prepared.groups) == 4 * len(prepared.layers)


def test_a_changed_adapter_is_seen_by_the_next_step() -> None:
    plain, fast = build(True), build(True)
    speed.prepare(fast, compile_layers=False, dequantize=True)
    for model in (plain, fast):
        step(model)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data.mul_(1.5)
    torch.testing.assert_close(step(fast)[0], step(plain)[0])


def test_what_is_saved_keeps_pefts_names() -> None:
    plain, fast = build(True), build(True)
    speed.prepare(fast, compile_layers=False, dequantize=False)
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_switching_the_adapter_off_gives_the_base_model() -> None:
    plain, fast = build(True), build(True)
    speed.prepare(fast, compile_layers=False, dequantize=False)
    with plain.disable_adapter(), fast.disable_adapter():
        torch.testing.assert_close(step_logits(fast), step_logits(plain))


def step_logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(9)[None], use_cache=False).logits


def test_projections_with_dropout_stay_pefts() -> None:
    model = build(True, dropout=0.1)
    assert speed.prepare(model, compile_layers=False, dequantize=True).groups == []


def test_some_targets_alone_are_fused_too() -> None:
    plain, fast = build(True, ["q_proj", "v_proj"]), build(True, ["q_proj", "v_proj"])
    prepared = speed.prepare(fast, compile_layers=False, dequantize=True)
    assert len(prepared.groups) == 2 * len(prepared.layers)
    assert distance(step(fast)[1], step(plain)[1]) < 1e-4


def test_unpacked_weights_are_bitsandbytes_own() -> None:
    model = build(True)
    layer = model.get_base_model().model.layers[0].self_attn
    bases = [layer.q_proj.base_layer, layer.k_proj.base_layer]
    wanted = torch.cat([nf4.dense(base) for base in bases])
    joined = nf4.Packed.join(bases)
    wide = nf4.widen(joined.packed, joined.scales, joined.table, torch.ones(wanted.shape[0], 64))
    assert torch.equal(wide[:, :128], wanted)
    assert torch.equal(wide[:, 128:], torch.ones(wanted.shape[0], 64))
    assert torch.equal(torch.cat([nf4.dense(base) for base in bases]), wanted)


def test_siblings_share_a_product() -> None:
    layer = build(False).get_base_model().model.layers[0]
    sizes = [group.sizes for group in lora_linear.install(layer, dense=True)]
    assert sorted(sizes) == [(128,), (128,), (128, 64, 64), (256, 256)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_layers_have_the_same_gradients(checkpointing: bool) -> None:
    torch._dynamo.reset()
    plain, fast = build(True), build(True)
    prepared = speed.prepare(fast, compile_layers=True, dequantize=False, checkpointing=checkpointing)
    try:
        assert distance(step(fast)[1], step(plain)[1]) < 1e-4
    finally:
        speed.undo(prepared)
        torch._functorch.config.activation_memory_budget = 1.0
    torch.testing.assert_close(step(fast)[0], step(plain)[0])
