"""`attn_implementation: varlen`: padding-free rows, one after another in one sequence, none of which sees another.

torch has the kernel itself (`torch.nn.attention.varlen`, FlashAttention inside), so that nothing has to be built; here
it gets a name in transformers' attention interface.  Where a row begins is read from `position_ids == 0`, once a step
and outside of the layers: on the CPU by `BoundsCollator` (no wait for the GPU), else by a hook on the backbone.  A
layer takes the bounds as FlashAttention's own keyword arguments (`cu_seq_lens_q`, `max_length_q`).

Without bounds (a CPU, an old torch, a padded batch, generation with a cache) the same name means SDPA with the mask
that transformers builds, which is block-diagonal for packed rows.  So a row is alone on either path.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sftrun.job.fast.row_attention import row_attention
from sftrun.job.obey.devices import has_row_kernels, has_varlen, takes, varlen_attn
from sftrun.step import attention_kernel
from sftrun.step.cuda_graphs import BOUNDS_STEPS, ROW_HEADS, longest_step

NAME = "varlen"
Kernel = Callable[[Sequence[Tensor], Tensor, int, float | None, int | None], Tensor]
KERNEL_DTYPES = (torch.bfloat16, torch.float16)
# Bounds are lengthened with empty rows, and the longest row is rounded up: fewer distinct shapes.  Not by much, since
# the kernel starts a block for each row times each 128 tokens of the longest, and empty ones cost a microsecond each
ROW_STEP = 16
LENGTH_STEP = 128


class UnsupportedAttention(ValueError):
    """The model's attention can't be computed by `varlen`; the message says what it is and what to choose."""


def register() -> None:
    """Make `varlen` known to transformers.  Calling it twice does no harm."""
    AttentionInterface.register(NAME, functools.partial(attend, kernel=by_rows if has_row_kernels() else by_torch))
    AttentionMaskInterface.register(NAME, sdpa_mask)


def captured_steps(config: PretrainedConfig, max_length: int) -> tuple[int, int]:
    """`BoundsCollator`'s steps where CUDA graphs replay batches."""
    capability = torch.cuda.get_device_capability() if has_row_kernels() else ()
    return BOUNDS_STEPS[0], longest_step(max_length, capability, _head(config.get_text_config()))


def check(config: PretrainedConfig) -> None:
    """Raise `UnsupportedAttention` where the architecture needs what neither path of `varlen` computes."""
    text = config.get_text_config()
    softcap = getattr(text, "attn_logit_softcapping", None)
    if softcap is not None:
        raise UnsupportedAttention(_refusal(f"{text.model_type} caps attention logits (softcap {softcap})", "eager"))
    head = _head(text)
    if not attention_kernel.holds(head):
        needed = f"a multiple of {attention_kernel.HEAD_STEP} up to {attention_kernel.LARGEST_HEAD} is needed"
        raise UnsupportedAttention(_refusal(f"{text.model_type} has heads of {head}: {needed}", "sdpa"))


def is_by_rows(config: PretrainedConfig) -> bool:
    """Whether our own kernels train this model.  They read a gradient however it lies; cuDNN's, which SDPA takes by
    default on Hopper, read one with gaps between its rows wrongly, with a mask and without (torch 2.11).
    """
    return config._attn_implementation == NAME and has_row_kernels() and _head(config.get_text_config()) in ROW_HEADS


def batch_bounds(position_ids: Tensor, row_step: int = ROW_STEP, length_step: int = LENGTH_STEP) -> tuple[Tensor, int]:
    """Where rows begin, as int32 of shape (rows + 1 rounded up,), and the longest row, rounded up.

    `position_ids` is (batch, tokens); every 0 begins a row.  The rounding keeps shapes few: what follows the last row
    has length 0.  On a GPU tensor this waits for the GPU; on the collator's it does not.
    """
    flat = position_ids.reshape(-1)
    starts = torch.nonzero(flat == 0).flatten().to(torch.int32)
    total = flat.numel()
    rows = -(-(len(starts) + 1) // row_step) * row_step
    bounds = F.pad(starts, (0, rows - len(starts)), value=total)
    longest = int(bounds.diff().max())
    return bounds, -(-longest // length_step) * length_step


def merge_padding(position_ids: Tensor) -> Tensor:
    """Make the filling at a batch's end one row: TRL fills with position 0, which would be a row for each token."""
    flat = position_ids.reshape(-1).clone()
    filled = int((flat.flip(0) != 0).to(torch.int8).argmax()) if flat.any() else flat.numel()
    if filled > 1:
        flat[-filled:] = torch.arange(filled, dtype=flat.dtype)
    return flat.view_as(position_ids)


class BoundsCollator:
    """A padding-free collator that also says where rows begin, so that the GPU is never asked.

    Put it around TRL's once the trainer stands: `trainer.data_collator = BoundsCollator(trainer.data_collator)`.
    Larger steps make fewer distinct shapes, which `graphs` wants.
    """

    def __init__(
        self,
        inner: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]],
        row_step: int = ROW_STEP,
        length_step: int = LENGTH_STEP,
    ) -> None:
        self.inner, self.row_step, self.length_step = inner, row_step, length_step

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch = self.inner(rows)
        if "position_ids" in batch and "attention_mask" not in batch:
            batch["position_ids"] = merge_padding(batch["position_ids"])
            bounds, longest = batch_bounds(batch["position_ids"], self.row_step, self.length_step)
            batch |= {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds.clone()}
            batch |= {"max_length_q": longest, "max_length_k": longest}
        return batch


def install(model: PreTrainedModel, has_kernel: bool = True) -> None:
    """Hook the backbone so that each step's bounds are known before its first layer.

    Without `has_kernel` a mask keeps rows apart, whatever the GPU could do.
    """
    check(model.config)
    begin = functools.partial(_begin_step, has_kernel)
    model.base_model.register_forward_pre_hook(begin, with_kwargs=True)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    *,
    kernel: Kernel | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """One layer's attention: heads as transformers hands them, (batch, heads, tokens, head); out (batch, tokens,
    heads, head).
    """
    _refuse_extras(kwargs)
    bounds, longest = kwargs.pop("cu_seq_lens_q", None), kwargs.pop("max_length_q", None)
    if bounds is None or not query.is_cuda:
        return _attend_sdpa(module, query, key, value, attention_mask, dropout, scaling, kwargs)
    if dropout:
        raise UnsupportedAttention(_refusal("attention dropout is on", "sdpa"))
    dtype = _kernel_dtype(query)
    rows = [states.transpose(1, 2).flatten(0, 1).to(dtype) for states in (query, key, value)]
    out = (kernel or by_torch)(rows, bounds, longest, scaling, sliding_window)
    return out.view(query.shape[0], query.shape[2], *out.shape[1:]).to(query.dtype), None


def _begin_step(
    has_kernel: bool, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]] | None:
    ids, positions = kwargs.get("input_ids"), kwargs.get("position_ids")
    embeds = ids if ids is not None else kwargs.get("inputs_embeds")
    other = kwargs.get("attention_mask") is not None or kwargs.get("past_key_values") is not None
    if embeds is None or positions is None or other or not has_kernel or not has_varlen(embeds.device):
        return args, _without_bounds(kwargs)
    if kwargs.get("cu_seq_lens_q") is None:
        bounds, longest = batch_bounds(positions.expand(embeds.shape[0], -1))
        kwargs |= {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
    torch._dynamo.mark_dynamic(kwargs["cu_seq_lens_q"], 0)
    torch._dynamo.mark_dynamic(kwargs["cu_seq_lens_k"], 0)
    # a mask of four dimensions is passed on as it is: none is built (that would wait for the GPU), and `attend`
    # ignores it
    kwargs["attention_mask"] = bounds_known(embeds.device)
    return args, kwargs


@functools.cache
def bounds_known(device: torch.device) -> Tensor:
    """Stands where a mask would, to say that the bounds are in the keyword arguments."""
    return torch.zeros((1, 1, 1, 1), dtype=torch.bool, device=device)


def _without_bounds(kwargs: dict[str, Any]) -> dict[str, Any]:
    names = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")
    return {name: value for name, value in kwargs.items() if name not in names}


def _attend_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    scaling: float | None,
    kwargs: dict[str, Any],
) -> tuple[Tensor, None]:
    out, _ = sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs)
    return out, None


def by_rows(
    states: Sequence[Tensor], bounds: Tensor, longest: int, scaling: float | None, sliding_window: int | None
) -> Tensor:
    """Our own kernels; heads that they are not made for go to torch's."""
    query, key, value = states
    head = query.shape[-1]
    if head not in ROW_HEADS:
        return by_torch(states, bounds, longest, scaling, sliding_window)
    out, _ = row_attention(query, key, value, bounds, scaling or head**-0.5, sliding_window or 0)
    return out


def by_torch(
    states: Sequence[Tensor], bounds: Tensor, longest: int, scaling: float | None, sliding_window: int | None
) -> Tensor:
    """torch's kernel, FlashAttention 2."""
    query, key, value = states
    window = (-1, 0) if sliding_window is None else (sliding_window - 1, 0)
    options: dict[str, Any] = {"scale": scaling} if takes("scale") else {}
    if query.shape[1] != key.shape[1] and takes("enable_gqa"):
        options["enable_gqa"] = True  # torch 2.11 has no such argument and takes fewer key heads as they come
    return varlen_attn(query, key, value, bounds, bounds, longest, longest, window_size=window, **options)


def _kernel_dtype(query: Tensor) -> torch.dtype:
    if query.dtype in KERNEL_DTYPES:
        return query.dtype
    if torch.is_autocast_enabled("cuda"):
        return torch.get_autocast_dtype("cuda")
    raise UnsupportedAttention(_refusal(f"the model computes in {query.dtype}", "sdpa"))


def _head(text: PretrainedConfig) -> int:
    size: int = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return size


def _refuse_extras(kwargs: Mapping[str, Any]) -> None:
    for name, what in (("softcap", "attention logits are capped"), ("s_aux", "attention has sinks")):
        if kwargs.get(name) is not None:
            raise UnsupportedAttention(_refusal(what, "eager"))


def _refusal(what: str, instead: str) -> str:
    return (
        f"`attn_implementation: varlen` can't train this model, because {what}; write `attn_implementation: {instead}`"
    )
