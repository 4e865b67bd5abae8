"""On a GPU: the kernel keeps rows apart, and the fast path trains what PEFT and SDPA train."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

ROWS = (5, 190, 1, 64, 300)


def small(sliding_window: int | None = None) -> Any:
    from transformers import MistralConfig

    return MistralConfig(
        vocab_size=211,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
        sliding_window=sliding_window,
    )


def build(config: Any, attention_name: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    from sftrun.job import attention

    attention.register()
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention_name)
    if attention_name == "varlen":
        attention.install(model)
    return model


def rows_of(lengths: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randint(0, 211, (length,), device="cuda") for length in lengths]


def packed(rows: list[Tensor]) -> dict[str, Tensor]:
    positions = torch.cat([torch.arange(len(row), device="cuda") for row in rows])
    return {"input_ids": torch.cat(rows)[None], "position_ids": positions[None]}


def loss_of(logits: Tensor, rows: list[Tensor]) -> Tensor:
    parts = logits[0].float().split([len(row) for row in rows])
    pairs = [(part[:-1], row[1:]) for part, row in zip(parts, rows, strict=True) if len(row) > 1]
    return torch.nn.functional.cross_entropy(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    squares = sum((found[name] - wanted[name]).double().square().sum() for name in wanted)
    return float((squares / sum(wanted[name].double().square().sum() for name in wanted)).sqrt())


def gradients(model: Any) -> dict[str, Tensor]:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [None, 32])
def test_the_kernel_agrees_with_rows_one_by_one(dtype: torch.dtype, window: int | None) -> None:
    rows, config = rows_of(ROWS), small(window)
    reference = build(config, "sdpa", torch.float32)
    logits = torch.cat([reference(input_ids=row[None]).logits for row in rows], dim=1)
    wanted = loss_of(logits, rows)
    wanted.backward()
    model = build(config, "varlen", torch.float32).to(dtype)
    model.load_state_dict(reference.state_dict())
    found = loss_of(model(**packed(rows), use_cache=False).logits, rows)
    found.backward()
    assert abs(float(found - wanted)) < 5e-3
    assert distance(gradients(model), gradients(reference)) < 3e-2


def test_a_rows_logits_stay_bit_for_bit_when_its_neighbours_change() -> None:
    model, probe = build(small(), "varlen", torch.bfloat16).eval(), rows_of((150,))[0]
    seen = []
    for left, right in ((40, 70), (40, 70)):
        rows = [torch.randint(0, 211, (n,), device="cuda") for n in (left, right)]
        logits = model(**packed([rows[0], probe, rows[1]]), use_cache=False).logits[0]
        seen.append(logits[left : left + 150])
    assert torch.equal(seen[0], seen[1])


def with_lora(quantised: bool) -> Any:
    from peft import LoraConfig, get_peft_model
    from torch import nn

    model = build(small(), "sdpa", torch.bfloat16)
    if quantised:
        import bitsandbytes as bnb

        for parent in list(model.model.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    sizes = (child.in_features, child.out_features)
                    layer = bnb.nn.Linear4bit(*sizes, False, torch.bfloat16, True, "nf4", device="meta")
                    weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4", module=layer)
                    layer.weight = weight.to("cuda")
                    setattr(parent, name, layer)
        model.is_loaded_in_4bit = True
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=names))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = torch.randn_like(weight, dtype=torch.float32).mul(0.05).to(torch.bfloat16)
    return model


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("quantised", "dense", "cheap"), [(True, True, False), (True, False, True), (False, True, False)]
)
def test_fused_lora_trains_what_peft_trains(compiled: bool, quantised: bool, dense: bool, cheap: bool) -> None:
    from sftrun.job import speed

    torch._dynamo.reset()
    rows = rows_of(ROWS)
    plain = with_lora(quantised)
    fast = copy.deepcopy(plain)
    loss_of(plain(**packed(rows), use_cache=False).logits, rows).backward()
    speed.prepare(fast, compile_layers=compiled, dequantize=dense, checkpointing=cheap and compiled)
    loss_of(fast(**packed(rows), use_cache=False).logits, rows).backward()
    assert distance(gradients(fast), gradients(plain)) < 3e-2
    torch._functorch.config.activation_memory_budget = 1.0


def test_recorded_steps_repeat_the_plain_ones() -> None:
    from sftrun.job import attention, speed

    torch._dynamo.reset()
    rows = rows_of(ROWS)
    model = with_lora(True)
    model.get_base_model().set_attn_implementation("varlen")
    plain = copy.deepcopy(model)
    attention.install(plain.get_base_model())
    speed.prepare(model, compile_layers=True, dequantize=True, record_graphs=True)
    for attempt in range(4):
        batch = packed(rows_of(ROWS) if attempt < 3 else list(reversed(rows)))
        order = rows if attempt < 3 else list(reversed(rows))
        for one in (model, plain):
            loss_of(one(**batch, use_cache=False).logits, order).backward()
        assert distance(gradients(model), gradients(plain)) < 3e-2
