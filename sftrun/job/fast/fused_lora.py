"""LoRA fused with its frozen weights into few, large products: PEFT's mathematics, in fewer passes over memory.

PEFT computes y = x Wᵀ + s (x Aᵀ) Bᵀ as three products and a sum, for each of q, k, v, gate, up.  Here siblings that
read the same x share one product, and LoRA is fused with it: with x̂ = [x | s x Aᵀ] and Ŵ = [W | B], y = x̂ Ŵᵀ.  The
output is written once and not read again for the sum, and the backward product dx̂ = dy Ŵ brings dx and what A and B
need together. The price is 64 more columns (2 % more work at 3,072).  The sum is taken in the product's fp32
accumulator, so it is rounded once where PEFT rounds three times.

W is frozen, so Ŵ can be kept ready.  From NF4 it is the dequantised weights themselves (2 bytes a parameter, no
rounding added); where memory is short they stay in 4 bits and Ŵ is made anew for each product (`nf4`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sftrun.job.fast import nf4
from sftrun.step import fused


class LoraGroup:
    """Projections of one module that read the same input, computed together on the first one's call.

    `copied`: from weights that were dequantised once for it.
    """

    def __init__(self, members: Sequence[nn.Module], dense: bool, whole: bool) -> None:
        self.members = tuple(members)
        self.whole = whole
        self.adapter: str = members[0].active_adapters[0]
        bases = [member.base_layer for member in members]
        self.sizes = tuple(base.out_features for base in bases)
        self.inputs: int = bases[0].in_features
        self.ranks = tuple(member.r[self.adapter] for member in members)
        self.columns = fused.columns(self.inputs, sum(self.ranks))
        self.bias = _fused_bias(bases)
        scales = [member.scaling[self.adapter] for member in members]
        self.scale: float = scales[0]
        self.copied = dense and nf4.is_quantized(bases[0])
        dense = dense or not nf4.can_fuse(bases)
        self.frozen = None if dense else nf4.Packed.fuse(bases)
        self.wide = _widen(bases, self.columns) if dense else None
        self.dtype = nf4.compute_dtype(bases[0])
        self.pending: list[Tensor] = []

    @property
    def a(self) -> list[Tensor]:
        return [member.lora_A[self.adapter].weight for member in self.members]

    @property
    def b(self) -> list[Tensor]:
        return [member.lora_B[self.adapter].weight for member in self.members]

    def stale(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Ŵ's places for B, each with the B that belongs there; none where Ŵ is made for each product."""
        if self.wide is not None:
            yield from zip(self._slots(self.wide), self.b, strict=True)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        fill = self.columns - self.inputs - sum(self.ranks)
        down = torch.cat([*self.a, self.a[0].new_zeros(fill, self.inputs)]).to(self.dtype)
        flat = x.to(self.dtype).flatten(0, -2)
        if self.wide is not None:
            weights: tuple[Tensor, ...] = (self.wide,)
        else:
            assert self.frozen is not None
            weights = (*self.frozen.parts(), self._tail().detach().to(self.dtype))
        # the compiler gives a layer up for good where an autograd.Function has nothing to record
        if torch.is_grad_enabled():
            outs = _GroupProduct.apply(flat, down, self, flat.requires_grad, *self.b, *weights)
        else:
            outs = _outputs(_widened(flat, down, self), self, weights)
        return tuple(out.view(*x.shape[:-1], out.shape[-1]) for out in outs)

    def _tail(self) -> Tensor:
        """(rows, columns - inputs): each projection's B in its own rows and columns, 0 elsewhere."""
        width, column, parts = self.columns - self.inputs, 0, []
        for rank, weight in zip(self.ranks, self.b, strict=True):
            parts.append(F.pad(weight, (column, width - column - rank)))
            column += rank
        return torch.cat(parts)

    def _slots(self, wide: Tensor) -> Iterator[Tensor]:
        row, column = 0, self.inputs
        for size, rank in zip(self.sizes, self.ranks, strict=True):
            yield wide[row : row + size, column : column + rank]
            row, column = row + size, column + rank


def _widened(x: Tensor, a: Tensor, group: LoraGroup) -> Tensor:
    """x̂ = [x | s x Aᵀ], (tokens, columns)."""
    wide_x = F.pad(x, (0, group.columns - group.inputs))
    project_into(wide_x, a, group.scale)
    return wide_x


def _outputs(wide_x: Tensor, group: LoraGroup, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """x̂ Ŵᵢᵀ (+ bias) for each sibling."""
    linear: Any = F.linear if len(weights) == 1 else nf4.linear
    outs: tuple[Tensor, ...] = linear(wide_x, *weights, group.bias).split(group.sizes, dim=-1)
    return outs


class _GroupProduct(torch.autograd.Function):
    """yᵢ = x̂ Ŵᵢᵀ (+ bias) for all siblings, with gradients for x, for the A (one below the other) and for each B.

    `rest` is each B, then Ŵ or what `nf4` makes it of: one by one, as torch 2.11's compiler loses a tuple of them.
    `is_inner`: whether x has a gradient; the first layer's has none.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, group: LoraGroup, is_inner: bool, *rest: Tensor) -> Any:
        weights = rest[len(group.ranks) :]
        wide_x = _widened(x, a, group)
        ctx.save_for_backward(wide_x, a, *weights)
        ctx.inputs, ctx.ranks, ctx.scale, ctx.whole = group.inputs, group.ranks, group.scale, group.whole
        ctx.b_dtype, ctx.is_inner, ctx.frozen = rest[0].dtype, is_inner, len(weights)
        return _outputs(wide_x, group, weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        wide_x, a, *weights = ctx.saved_tensors
        product: Any = _gradient if len(weights) == 1 else nf4.gradient
        grad_wide = product(list(grads), *weights, a, ctx.scale, ctx.is_inner)
        grad_down = grad_wide[:, -a.shape[0] :]
        grad_x = grad_wide[:, : ctx.inputs] if ctx.is_inner else None
        if grad_x is not None and ctx.whole:
            grad_x = grad_x.contiguous()
        grad_a = grad_down.t() @ wide_x[:, : ctx.inputs]
        lows = wide_x[:, ctx.inputs : ctx.inputs + sum(ctx.ranks)].split(ctx.ranks, dim=1)
        grad_b = [(grad.t() @ low).to(ctx.b_dtype) for grad, low in zip(grads, lows, strict=True)]
        return grad_x, grad_a, None, None, *grad_b, *[None] * ctx.frozen


@torch.library.custom_op("sftrun::project_into", mutates_args=("wide_x",))
def project_into(wide_x: Tensor, a: Tensor, scale: float) -> None:
    """x̂'s last columns := s x Aᵀ, in place: the compiler lets x's maker write into x̂ at once."""
    inputs = a.shape[1]
    wide_x[:, inputs:].addmm_(wide_x[:, :inputs], a.t(), beta=0, alpha=scale)


@project_into.register_fake
def _(wide_x: Tensor, a: Tensor, scale: float) -> None:
    return None


@torch.library.custom_op("sftrun::lora_gradient", mutates_args=())
def _gradient(grads: list[Tensor], wide: Tensor, a: Tensor, scale: float, is_inner: bool) -> Tensor:
    return nf4.input_gradient(grads, wide, a, scale, is_inner)


@_gradient.register_fake
def _(grads: list[Tensor], wide: Tensor, a: Tensor, scale: float, is_inner: bool) -> Tensor:
    return grads[0].new_empty(grads[0].shape[0], wide.shape[1] if is_inner else a.shape[0])


def install(layer: nn.Module, dense: bool, whole: bool = True) -> list[LoraGroup]:
    """Replace the forward of a decoder layer's LoRA projections; returns the groups made.  Names and weights stay
    PEFT's.  `whole`: hand on gradients of x without gaps between their rows, which is a copy unless it is compiled.
    """
    groups = []
    for parent in list(layer.modules()):
        for members in _families(parent):
            group = LoraGroup(members, dense, whole)
            for index, member in enumerate(members):
                member.forward = _member_forward(group, index, member)
            groups.append(group)
    return groups


def _member_forward(group: LoraGroup, index: int, member: nn.Module) -> Callable[..., Tensor]:
    plain = type(member).forward

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or member.disable_adapters or member.merged:
            return plain(member, x, *args, **kwargs)
        if index == 0:
            group.pending = list(group(x))
        out = group.pending[index]
        if index == len(group.members) - 1:
            group.pending = []
        return out

    return forward


def fits(member: nn.Module) -> bool:
    """Whether a module is plain LoRA over a linear layer: one adapter, no dropout, no DoRA, no bias of its own."""
    if not hasattr(member, "lora_A") or len(getattr(member, "active_adapters", ())) != 1 or member.lora_variant:
        return False
    adapter = member.active_adapters[0]
    if adapter not in member.lora_A or not isinstance(member.base_layer, nn.Linear):
        return False
    return isinstance(member.lora_dropout[adapter], nn.Identity) and member.lora_B[adapter].bias is None


def _families(parent: nn.Module) -> Iterator[list[nn.Module]]:
    children = {name: child for name, child in parent.named_children() if fits(child)}
    for names in fused.SIBLINGS:
        if all(name in children for name in names):
            family = [children[name] for name in names]
            if len({member.scaling[member.active_adapters[0]] for member in family}) == 1:
                for name in names:
                    del children[name]
                yield family
    for child in children.values():
        yield [child]


def _fused_bias(bases: Sequence[nn.Module]) -> Tensor | None:
    if all(base.bias is None for base in bases):
        return None
    like = next(base.bias for base in bases if base.bias is not None)
    parts = [base.bias if base.bias is not None else like.new_zeros(base.out_features) for base in bases]
    return torch.cat([part.detach().to(nf4.compute_dtype(bases[0])) for part in parts])


def _widen(bases: Sequence[nn.Module], columns: int) -> Tensor:
    rows = sum(base.out_features for base in bases)
    first = nf4.dense(bases[0])
    wide = first.new_zeros(rows, columns)
    row = 0
    for base in bases:
        part = wide[row : row + base.out_features, : base.in_features]
        part.copy_(nf4.dense(base))
        if not nf4.is_quantized(base):
            base.weight.data = part  # 16-bit weights are kept once, as a view of the whole
        row += base.out_features
    return wide
