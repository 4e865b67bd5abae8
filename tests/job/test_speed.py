"""The fast path trains what PEFT trains: same loss, same gradients, same names."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from sftrun.job.fast import fused_lora, layers, nf4
from tests.job import small
from tests.job.small import Grads, adapt, distance, fused, gradients, packed, rows_of

pytest.importorskip("bitsandbytes")

Ranks = dict[str, dict[str, int]]

CONFIG = LlamaConfig(
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=61,
    attention_bias=True,
)


def build(
    quantised: bool, targets: str | list[str] = "all-linear", dropout: float = 0.0, patterns: Ranks | None = None
) -> Any:
    model = small.build(CONFIG, "varlen")
    return adapt(small.quantise(model) if quantised else model, targets, dropout, **patterns or {})


def step(model: Any) -> tuple[Tensor, Grads]:
    batch = packed(rows_of((5, 9, 4, 1), CONFIG.vocab_size))
    logits = model(**batch, use_cache=False).logits
    loss = nn.functional.cross_entropy(logits[0, :-1], batch["input_ids"][0, 1:])
    loss.backward()
    return loss, gradients(model)


@pytest.mark.parametrize(("quantised", "dequantize"), [(True, True), (True, False), (False, True)])
def test_fused_products_have_pefts_loss_and_gradients(quantised: bool, dequantize: bool) -> None:
    plain, fast = build(quantised), build(quantised)
    prepared = layers.prepare(fast, fused(dequantized=dequantize))
    wanted, found = step(plain), step(fast)
    torch.testing.assert_close(found[0], wanted[0])
    assert found[1].keys() == wanted[1].keys()
    assert distance(found[1], wanted[1]) < 1e-4
    assert len(prepared.groups) == 4 * len(prepared.layers)


@pytest.mark.parametrize(
    ("patterns", "products"),
    [
        ({"rank_pattern": {"q_proj": 3, "layers.1.mlp.up_proj": 5}, "alpha_pattern": {"q_proj": 6}}, 4 + 5),
        ({"rank_pattern": {"q_proj": 4}}, 6 + 6),
    ],
    ids=["one scale", "other scales"],
)
@pytest.mark.parametrize("quantised", [True, False])
def test_siblings_of_other_ranks_share_a_product_where_their_scale_is_one(
    quantised: bool, patterns: Ranks, products: int
) -> None:
    plain, fast = build(quantised, patterns=patterns), build(quantised, patterns=patterns)
    prepared = layers.prepare(fast, fused())
    wanted, found = step(plain), step(fast)
    torch.testing.assert_close(found[0], wanted[0])
    assert distance(found[1], wanted[1]) < 1e-4
    assert len(prepared.groups) == products


def test_a_changed_adapter_is_seen_by_the_next_step() -> None:
    plain, fast = build(True), build(True)
    layers.prepare(fast, fused(dequantized=True))
    for model in (plain, fast):
        step(model)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data.mul_(1.5)
    torch.testing.assert_close(step(fast)[0], step(plain)[0])


def test_what_is_saved_keeps_pefts_names() -> None:
    plain, fast = build(True), build(True)
    layers.prepare(fast, fused())
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_switching_the_adapter_off_gives_the_base_model() -> None:
    plain, fast = build(True), build(True)
    layers.prepare(fast, fused())
    with plain.disable_adapter(), fast.disable_adapter():
        torch.testing.assert_close(step_logits(fast), step_logits(plain))


def step_logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(9)[None], use_cache=False).logits


def test_projections_with_dropout_stay_pefts() -> None:
    model = build(True, dropout=0.1)
    assert layers.prepare(model, fused(dequantized=True)).groups == []


def test_some_targets_alone_are_fused_too() -> None:
    plain, fast = build(True, ["q_proj", "v_proj"]), build(True, ["q_proj", "v_proj"])
    prepared = layers.prepare(fast, fused(dequantized=True))
    assert len(prepared.groups) == 2 * len(prepared.layers)
    assert distance(step(fast)[1], step(plain)[1]) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("dequantize", [True, False])
def test_an_evaluation_costs_later_steps_no_compilation(dequantize: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that the compiler gives up in an evaluation is slower, and larger, in every step that follows."""
    from torch._dynamo.utils import counters

    compile_layer = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_layer(self, backend="aot_eager"))
    torch._dynamo.reset()
    counters.clear()
    model = build(True)
    prepared = layers.prepare(model, fused(dequantized=dequantize, compiled=True))
    assert prepared.compiled
    told = []
    for _ in range(3):
        step(model)
        model.eval()
        step_logits_of_rows(model)
        model.train()
        told.append(counters["stats"]["unique_graphs"])
    step(model)
    assert not counters["graph_break"]
    assert told[0] == told[1] == told[2] == counters["stats"]["unique_graphs"]


def step_logits_of_rows(model: Any) -> Tensor:
    with torch.no_grad():
        return model(**packed(rows_of((5, 9, 4, 1), CONFIG.vocab_size)), use_cache=False).logits


def test_unpacked_weights_are_bitsandbytes_own() -> None:
    model = build(True)
    layer = model.get_base_model().model.layers[0].self_attn
    bases = [layer.q_proj.base_layer, layer.k_proj.base_layer]
    wanted = torch.cat([nf4.dense(base) for base in bases])
    packed_together = nf4.Packed.fuse(bases)
    wide = nf4.widen(
        packed_together.packed, packed_together.scales, packed_together.table, torch.ones(wanted.shape[0], 64)
    )
    assert torch.equal(wide[:, :128], wanted)
    assert torch.equal(wide[:, 128:], torch.ones(wanted.shape[0], 64))
    assert torch.equal(torch.cat([nf4.dense(base) for base in bases]), wanted)


def test_siblings_share_a_product() -> None:
    layer = build(False).get_base_model().model.layers[0]
    sizes = [group.sizes for group in fused_lora.install(layer, dense=True)]
    assert sorted(sizes) == [(128,), (128,), (128, 64, 64), (256, 256)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_layers_have_the_same_gradients(checkpointing: bool) -> None:
    torch._dynamo.reset()
    plain, fast = build(True), build(True)
    prepared = layers.prepare(fast, fused(compiled=True, checkpointing="compiler" if checkpointing else "none"))
    try:
        assert distance(step(fast)[1], step(plain)[1]) < 1e-4
    finally:
        layers.undo(prepared)
        torch._functorch.config.activation_memory_budget = 1.0
    torch.testing.assert_close(step(fast)[0], step(plain)[0])
