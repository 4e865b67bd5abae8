"""On a GPU: the kernel keeps rows apart, and the fast path trains what PEFT and SDPA train."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MistralConfig, PretrainedConfig

from sftrun.job.fast import attention, layers
from tests.job import small
from tests.job.small import distance, gradients, packed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings("default"),  # torch 2.11's compiler warns of what it does itself
]

ROWS = (5, 190, 1, 64, 300)
VOCABULARY = 211


def config(sliding_window: int | None = None) -> PretrainedConfig:
    return MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
        sliding_window=sliding_window,
    )


def build(shape: PretrainedConfig, kernel: str, dtype: torch.dtype) -> Any:
    model = small.build(shape, kernel, dtype, "cuda")
    if kernel == "varlen":
        attention.install(model)
    return model


def rows_of(lengths: tuple[int, ...]) -> list[Tensor]:
    return small.rows_of(lengths, VOCABULARY, "cuda")


def loss_of(logits: Tensor, rows: list[Tensor]) -> Tensor:
    parts = logits[0].float().split([len(row) for row in rows])
    pairs = [(part[:-1], row[1:]) for part, row in zip(parts, rows, strict=True) if len(row) > 1]
    return torch.nn.functional.cross_entropy(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [None, 32])
def test_the_kernel_agrees_with_rows_one_by_one(dtype: torch.dtype, window: int | None) -> None:
    rows, shape = rows_of(ROWS), config(window)
    reference = build(shape, "sdpa", torch.float32)
    logits = torch.cat([reference(input_ids=row[None]).logits for row in rows], dim=1)
    wanted = loss_of(logits, rows)
    wanted.backward()
    model = build(shape, "varlen", torch.float32).to(dtype)
    model.load_state_dict(reference.state_dict())
    found = loss_of(model(**packed(rows), use_cache=False).logits, rows)
    found.backward()
    assert abs(float((found - wanted).detach())) < 5e-3
    assert distance(gradients(model), gradients(reference)) < 3e-2


def test_a_rows_logits_stay_bit_for_bit_when_its_neighbours_change() -> None:
    model, probe = build(config(), "varlen", torch.bfloat16).eval(), rows_of((150,))[0]
    seen = []
    for left, right in ((40, 70), (40, 70)):
        rows = [torch.randint(0, VOCABULARY, (n,), device="cuda") for n in (left, right)]
        logits = model(**packed([rows[0], probe, rows[1]]), use_cache=False).logits[0]
        seen.append(logits[left : left + 150])
    assert torch.equal(seen[0], seen[1])


def with_lora(quantised: bool) -> Any:
    model = build(config(), "sdpa", torch.bfloat16)
    return small.adapt(small.quantise(model) if quantised else model, small.SEVEN)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("quantised", "dense", "cheap"), [(True, True, False), (True, False, True), (False, True, False)]
)
def test_fused_lora_trains_what_peft_trains(compiled: bool, quantised: bool, dense: bool, cheap: bool) -> None:
    torch._dynamo.reset()
    rows = rows_of(ROWS)
    plain = with_lora(quantised)
    fast = copy.deepcopy(plain)
    loss_of(plain(**packed(rows), use_cache=False).logits, rows).backward()
    checkpointing = "compiler" if cheap and compiled else "none"
    layers.prepare(fast, small.fused(compiled=compiled, dequantized=dense, checkpointing=checkpointing))
    loss_of(fast(**packed(rows), use_cache=False).logits, rows).backward()
    assert distance(gradients(fast), gradients(plain)) < 3e-2
    torch._functorch.config.activation_memory_budget = 1.0


def test_replayed_steps_repeat_the_plain_ones() -> None:
    model, plain = replayed_and_plain()
    rows = rows_of(ROWS)
    for attempt in range(4):
        order = rows if attempt < 3 else list(reversed(rows))
        assert distance(after(model, order), after(plain, order)) < 3e-2


def test_replayed_gradients_follow_the_weights_and_add_up() -> None:
    model, plain = replayed_and_plain()
    rows, others = rows_of(ROWS), rows_of(tuple(reversed(ROWS)))
    for _ in range(3):
        before = after(model, rows)
    for one in (model, plain):
        with torch.no_grad():
            for name, weight in one.named_parameters():
                weight.add_(0.01 if "lora_B" in name else 0)
    assert distance(after(model, rows), before) > 0.1
    found, wanted = after(model, rows, others, rows), after(plain, rows, others, rows)
    assert distance(found, wanted) < 3e-2
    assert distance(after(model, rows), found) > 0.1


def replayed_and_plain() -> tuple[Any, Any]:
    torch._dynamo.reset()
    model = with_lora(True)
    model.get_base_model().set_attn_implementation("varlen")
    plain = copy.deepcopy(model)
    attention.install(plain.get_base_model())
    layers.prepare(model, small.fused(has_varlen_kernel=True, compiled=True, dequantized=True, cuda_graphs=True))
    return model, plain


def after(model: Any, *batches: list[Tensor]) -> dict[str, Tensor]:
    """The gradients that all of them leave together."""
    for rows in batches:
        loss_of(model(**packed(rows), use_cache=False).logits, rows).backward()
    return gradients(model)
