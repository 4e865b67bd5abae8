"""CUDA graphs of the backbone, for steps that a CPU could hold up: 8 rows of 177 tokens are 50 ms of work and 140 ms of
launching it.

A graph replays a fixed sequence of kernels on fixed shapes, so token counts are rounded up (SFTConfig's
`pad_to_multiple_of`) and rows' bounds too; each shape's first batch runs as usual (and is what compiles), its second is
captured, later ones replay.  All graphs share one memory pool: only one is under way at a time.  The head and the
loss stay outside: TRL's picks the tokens that have a label, whose number varies.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from sftrun.job.fast.attention import bounds_known
from sftrun.step.cuda_graphs import LIMIT

WARM_UPS = 1
INPUTS = ("input_ids", "position_ids", "cu_seq_lens_q")


class GraphedBackbone:
    """Stands in for a backbone's `forward`.  Evaluation, generation and batches without bounds go to the plain one."""

    def __init__(
        self, backbone: nn.Module, before: Callable[[], None], hooked: Callable[[], None] = lambda: None
    ) -> None:
        self.hooked = hooked  # told where no graph can be captured, since autograd lays gradients down
        self.plain = backbone.forward
        self.backbone = backbone
        self.before = before  # what must be done before each forward pass, captured with it
        self.graphs: dict[tuple[int, ...], _Captured] = {}
        self.seen: set[tuple[int, ...]] = set()
        self.pool: Any = None
        self.misses = 0  # training batches that replayed no graph: of a new shape, or captured just then

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = self._shape(args, kwargs)
        if key is None:
            return self.plainly(*args, **kwargs)
        if key not in self.graphs:
            self.misses += 1
            # weights are walked through last, and not for each step of a shape too many
            if key not in self.seen or len(self.graphs) >= LIMIT or not (trained := self._trained()):
                self.seen.add(key)
                return self.plainly(*args, **kwargs)
            self.graphs[key] = self._capture(kwargs, trained)
        anchor = torch.empty(0, device=kwargs["input_ids"].device, requires_grad=True)
        hidden = _Replay.apply(anchor, self.graphs[key], *(kwargs[name] for name in INPUTS))
        return BaseModelOutputWithPast(last_hidden_state=hidden)

    def plainly(self, *args: Any, **kwargs: Any) -> Any:
        """Without a graph."""
        self.before()
        return self.plain(*args, **kwargs)

    def _shape(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, ...] | None:
        bounds, ids = kwargs.get("cu_seq_lens_q"), kwargs.get("input_ids")
        if args or bounds is None or ids is None or not ids.is_cuda or not self.backbone.training:
            return None
        if not torch.is_grad_enabled():
            return None
        return (*ids.shape, len(bounds), int(kwargs["max_length_q"]))

    def _trained(self) -> list[nn.Parameter]:
        """The weights that a graph gives their gradients; none where hooks wait for autograd to do that."""
        trained = [weight for weight in self.backbone.parameters() if weight.requires_grad]
        if any(weight._post_accumulate_grad_hooks or weight._backward_hooks for weight in trained):
            self.hooked()
            return []
        return trained

    def _capture(self, kwargs: dict[str, Any], trained: list[nn.Parameter]) -> "_Captured":
        def compute(ids: Tensor, positions: Tensor, bounds: Tensor) -> Tensor:
            torch._dynamo.mark_dynamic(bounds, 0)
            out = self.plainly(
                input_ids=ids,
                position_ids=positions,
                attention_mask=bounds_known(ids.device),
                cu_seq_lens_q=bounds,
                cu_seq_lens_k=bounds,
                max_length_q=longest,
                max_length_k=longest,
                use_cache=False,
            )
            hidden: Tensor = out.last_hidden_state
            return hidden

        longest, inputs = int(kwargs["max_length_q"]), tuple(kwargs[name].clone() for name in INPUTS)
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        # capturing warms up on a stream of its own, which finds no room in what other streams have cached
        torch.cuda.empty_cache()
        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False):
            return _Captured(compute, inputs, trained, self.pool)


class _Captured:
    """Forward and backward pass of one shape.  `compute` maps `inputs` to hidden states."""

    def __init__(
        self, compute: Callable[..., Tensor], inputs: tuple[Tensor, ...], trained: list[nn.Parameter], pool: Any
    ) -> None:
        self.inputs, self.trained = inputs, trained
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(WARM_UPS):
                out = compute(*inputs)
                torch.autograd.grad(out, trained, torch.empty_like(out), allow_unused=True)
                del out
        torch.cuda.synchronize()
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.forward, pool=pool):
            out = compute(*inputs)
        self.out, self.out_grad = out.detach(), torch.empty_like(out)
        with torch.cuda.graph(self.backward, pool=pool):
            gradients = torch.autograd.grad(out, trained, self.out_grad, allow_unused=True)
            self.gradients = tuple(map(_laid_out_as, trained, gradients))

    def compute(self, *inputs: Tensor) -> Tensor:
        for weight in self.trained:
            if weight.grad is not None:  # it may lie where this pass keeps what it computes
                weight.grad = weight.grad.clone()
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.forward.replay()
        return self.out.detach()

    def add_gradients(self, out_grad: Tensor) -> None:
        self.out_grad.copy_(out_grad)
        self.backward.replay()
        for weight, found in zip(self.trained, self.gradients, strict=True):
            if found is not None:
                weight.grad = found if weight.grad is None else weight.grad + found


def _laid_out_as(weight: Tensor, gradient: Tensor | None) -> Tensor | None:
    """As autograd lays it down, and fused optimisers want it: an embedding's adapter has its gradient transposed."""
    if gradient is None or gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


class _Replay(torch.autograd.Function):
    """Gives the weights their gradients itself: as inputs of this they would cost the CPU some 20 µs each, every step,
    and a small model's hundreds of them as much as the GPU needs.  `anchor` stands for them, and gets none.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, captured: _Captured, *inputs: Tensor) -> Tensor:
        ctx.captured, ctx.count = captured, len(inputs)
        return captured.compute(*inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:
        ctx.captured.add_gradients(grad)
        return (None,) * (2 + ctx.count)
