"""Make a LoRA model fast, once it and its trainer stand: fused LoRA, compiled layers, cheap checkpoints.

`prepare` changes how a step is computed, never what: names, weights and what is saved stay PEFT's and transformers'.
  1. LoRA's small products are fused with the frozen weights' large ones, siblings together (`fused_lora`).
  2. NF4 weights are dequantised once (`dequantized`) or for each product (`nf4`).
  3. Each decoder layer is compiled.  All layers share one compiled graph, and a batch's size is marked dynamic: it is
     compiled once, not for each size.  The whole model (`torch_compile=True`) breaks in TRL's fused LM head.
  4. Checkpointing is the compiler's: a layer keeps its input alone and the backward graph holds only what it needs
     again, so the layer's last product is not repeated, as it is by transformers' `gradient_checkpointing`.

`undo` gives the plain layers back: generation after training runs on those.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sftrun.contract.stepplan import StepPlan
from sftrun.job.fast import attention, fused_lora
from sftrun.job.fast import graphed as graphs

Refuse = Callable[[str, object, str], None]


@dataclass
class Prepared:
    """What `prepare` did; `notes` are sentences for the run's events."""

    layers: list[nn.Module]
    groups: list[fused_lora.LoraGroup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compiled: bool = False
    checkpointing: bool = False
    graphed: graphs.GraphedBackbone | None = None


def prepare(model: Any, step: StepPlan, refuse: Refuse = lambda order, done, reason: None) -> Prepared:
    """Speed up `trainer.model`; call it after SFTTrainer is made (TRL casts the adapter there) and before `train`.

    `refuse` hears of orders that the model does not allow.  Where the compiler does the checkpointing, SFTConfig's
    `gradient_checkpointing` must be off.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    prepared = Prepared(layers=list(decoder_layers(base)))
    if base.config._attn_implementation == attention.NAME:
        attention.install(base, step.has_varlen_kernel)
    if step.fused_lora:
        _fuse(prepared, base, step.dequantized, refuse)
    if step.compiled:
        _compile(prepared, step.checkpointing == "compiler", refuse)
    _refresh_before_forward(prepared, base.base_model, step.cuda_graphs, refuse)
    return prepared


def decoder_layers(model: Any) -> Iterator[nn.Module]:
    """The blocks that transformers itself keeps whole (`_no_split_modules`), in order."""
    names = set(model._no_split_modules or ())
    return (module for module in model.modules() if type(module).__name__ in names)


def _fuse(prepared: Prepared, base: Any, dequantized: bool, refuse: Refuse) -> None:
    whole = not attention.is_by_rows(base.config)
    for layer in prepared.layers:
        prepared.groups += fused_lora.install(layer, dequantized, whole)
    kind = "dequantised once" if dequantized else "dequantised for each product"
    count = sum(len(group.members) for group in prepared.groups)
    prepared.notes.append(f"{count} LoRA projections in {len(prepared.groups)} products, frozen weights {kind}")
    if not count:
        refuse("fused_lora", False, "no decoder layer has a plain adapter over a linear layer")


def _refresh_before_forward(prepared: Prepared, backbone: nn.Module, cuda_graphs: bool, refuse: Refuse) -> None:
    def before() -> None:
        refresh(prepared.groups)

    if cuda_graphs:
        hooked = functools.partial(refuse, "cuda_graphs", False, "weights wait for autograd to lay gradients down")
        backbone.forward = prepared.graphed = graphs.GraphedBackbone(backbone, before, hooked)
        prepared.notes.append("CUDA graphs replay the steps, one for each rounded number of tokens")
    else:
        backbone.register_forward_pre_hook(lambda *_: before())


def refresh(groups: list[fused_lora.LoraGroup]) -> None:
    """Put the step's B into the matrices that hold them beside the frozen weights."""
    pairs = [pair for group in groups for pair in group.stale()]
    if pairs:
        with torch.no_grad():
            torch._foreach_copy_([slot for slot, _ in pairs], [weight for _, weight in pairs])


def quicken(trainer: Any) -> None:
    """Spare the Trainer its walks over all modules, some 20 ms a step for 32 layers, which small steps wait for.

    Counted once instead: parameters (for `total_flos`).  Skipped where it would change nothing: `model.train()` on a
    model that trains, `zero_grad` on weights that have no gradient.  What is trained the optimiser says: a resume makes
    new parameters of the adapter's after this was called.
    """
    model = trainer.model
    count = model.num_parameters(exclude_embeddings=True)
    plain_train, plain_zero_grad = model.train, model.zero_grad

    def trained() -> list[Tensor]:
        return [weight for group in trainer.optimizer.param_groups for weight in group["params"]]

    def train(mode: bool = True) -> Any:
        return model if mode and model.training else plain_train(mode)

    def zero_grad(set_to_none: bool = True) -> None:
        if trainer.optimizer is None:
            plain_zero_grad(set_to_none)
        else:
            for weight in trained():
                weight.grad = None

    model.train, model.zero_grad = train, zero_grad
    trainer.floating_point_ops = lambda inputs: 6 * inputs["input_ids"].numel() * count
    trainer._clip_grad_norm = lambda _: trainer.accelerator.clip_grad_norm_(trained(), trainer.args.max_grad_norm)


def undo(prepared: Prepared) -> None:
    """Take compiled code off the layers and let go of graphs, for generation and what else has shapes of its own."""
    if prepared.graphed is not None:
        prepared.graphed.backbone.forward = prepared.graphed.plain
        prepared.graphed.backbone.register_forward_pre_hook(lambda *_: refresh(prepared.groups))
        prepared.graphed = None
    for layer in prepared.layers:
        layer._compiled_call_impl = None
    prepared.compiled = False


def _compile(prepared: Prepared, checkpointing: bool, refuse: Refuse) -> None:
    if not prepared.layers:
        refuse("compiled", False, "the model does not say which of its modules are decoder layers")
        return
    if checkpointing:
        # 0: a compiled graph (here, a layer) keeps nothing but its inputs for the backward pass
        torch._functorch.config.activation_memory_budget = 0.0
    for layer in prepared.layers:
        layer.compile()
        layer._compiled_call_impl = _mark_dynamic_then(layer._compiled_call_impl)
    prepared.compiled, prepared.checkpointing = True, checkpointing
    prepared.notes.append(f"{len(prepared.layers)} decoder layers compiled; the first steps are slow")


def _mark_dynamic_then(call: Any) -> Any:
    """The compiled call, told that the number of tokens varies (dimension 1 of what a layer gets)."""

    def marked(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        for tensor in tree_leaves((hidden, args, kwargs)):
            if isinstance(tensor, Tensor) and tensor.ndim > 1 and tensor.shape[1] == hidden.shape[1]:
                torch._dynamo.maybe_mark_dynamic(tensor, 1)
        return call(hidden, *args, **kwargs)

    return marked
