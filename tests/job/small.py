"""Small causal LMs in memory, quantised and adapted as a run does it, and the rows and gradients to compare them by."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from sftrun.contract.stepplan import Precision, StepPlan
from sftrun.job.fast import attention

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Grads = dict[str, Tensor]


def build(config: PretrainedConfig, kernel: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Any:
    """Random weights, the same each time."""
    attention.register()
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=kernel)


def quantise(model: Any) -> Any:
    """The decoder's linear layers in NF4 with double quantisation, as bitsandbytes would load them."""
    import bitsandbytes as bnb

    for parent in list(model.model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                weight, sizes = child.weight, (child.in_features, child.out_features, child.bias is not None)
                layer = bnb.nn.Linear4bit(*sizes, weight.dtype, True, "nf4", device="meta")
                packed = bnb.nn.Params4bit(weight.data, requires_grad=False, quant_type="nf4", module=layer)
                layer.weight, layer.bias = packed.to(weight.device), child.bias
                setattr(parent, name, layer)
    model.is_loaded_in_4bit = True
    return model


def adapt(model: Any, targets: str | list[str] = "all-linear", dropout: float = 0.0, **options: Any) -> Any:
    """PEFT's LoRA around it, with both matrices random: fresh ones would multiply by zero.

    `options`: further ones of its LoraConfig.
    """
    from peft import LoraConfig, get_peft_model

    dtype = model.dtype
    config = LoraConfig(r=8, lora_alpha=16, target_modules=targets, lora_dropout=dropout, **options)
    model = get_peft_model(model, config)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = torch.randn_like(weight, dtype=torch.float32).mul(0.05).to(dtype)
    return model


def fused(**fields: Any) -> StepPlan:
    """An order for LoRA's products to be fused, and whatever else a test wants."""
    return StepPlan(**({"precision": Precision(step="float32"), "fused_lora": True} | fields))


def rows_of(lengths: tuple[int, ...], vocabulary: int, device: str = "cpu") -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randint(0, vocabulary, (length,), device=device) for length in lengths]


def packed(rows: list[Tensor]) -> dict[str, Tensor]:
    """Padding-free rows in one sequence."""
    positions = torch.cat([torch.arange(len(row), device=row.device) for row in rows])
    return {"input_ids": torch.cat(rows)[None], "position_ids": positions[None]}


def gradients(model: Any) -> Grads:
    """What the last backward left, taken away."""
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def distance(found: Grads, wanted: Grads) -> float:
    """Of all gradients as one vector, relative to its length."""
    squares = sum(float((found[name] - wanted[name]).double().square().sum()) for name in wanted)
    return (squares / sum(float(grad.double().square().sum()) for grad in wanted.values())) ** 0.5
