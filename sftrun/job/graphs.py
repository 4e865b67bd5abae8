"""CUDA graphs of the backbone for small steps: 8 rows of 177 tokens are 50 ms of work and 140 ms of launching it.

A graph replays a fixed sequence of kernels on fixed shapes, so token counts are rounded up (SFTConfig's
`pad_to_multiple_of`) and rows' bounds too; each shape's first batch runs as usual (and is what compiles), its second is
recorded, later ones replay.  All graphs share one memory pool: only one is under way at a time.  The head and the
loss stay outside: TRL's picks the tokens that have a label, whose number varies.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from sftrun.contract.graphs import LIMIT
from sftrun.job.attention import bounds_known

WARM_UPS = 1


class GraphedBackbone:
    """Stands in for a backbone's `forward`.  Evaluation, generation and batches without bounds go to the plain one."""

    def __init__(self, backbone: nn.Module, before: Callable[[], None]) -> None:
        self.plain = backbone.forward
        self.backbone = backbone
        self.before = before  # what must be done before each forward pass, recorded with it
        self.graphs: dict[tuple[int, ...], Callable[..., Tensor]] = {}
        self.seen: set[tuple[int, ...]] = set()
        self.pool: Any = None
        self.misses = 0  # training batches that replayed no graph: of a new shape, or recorded just then

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = self._shape(args, kwargs)
        if key is None:
            return self._plainly(*args, **kwargs)
        if key not in self.graphs:
            self.misses += 1
            if key not in self.seen or len(self.graphs) >= LIMIT:
                self.seen.add(key)
                return self._plainly(*args, **kwargs)
            self.graphs[key] = self._record(kwargs)
        hidden = self.graphs[key](kwargs["input_ids"], kwargs["position_ids"], kwargs["cu_seq_lens_q"])
        return BaseModelOutputWithPast(last_hidden_state=hidden)

    def _plainly(self, *args: Any, **kwargs: Any) -> Any:
        self.before()
        return self.plain(*args, **kwargs)

    def _shape(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, ...] | None:
        bounds, ids = kwargs.get("cu_seq_lens_q"), kwargs.get("input_ids")
        if args or bounds is None or ids is None or not ids.is_cuda or not self.backbone.training:
            return None
        if not torch.is_grad_enabled():
            return None
        return (*ids.shape, len(bounds), int(kwargs["max_length_q"]))

    def _record(self, kwargs: dict[str, Any]) -> Callable[..., Tensor]:
        longest = int(kwargs["max_length_q"])
        samples = tuple(kwargs[name].clone() for name in ("input_ids", "position_ids", "cu_seq_lens_q"))
        stack = _Stack(self._plainly, [p for p in self.backbone.parameters() if p.requires_grad], longest)
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        # recording warms up on a stream of its own, which finds no room in what other streams have cached
        torch.cuda.empty_cache()
        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False):
            graphed: Callable[..., Tensor] = torch.cuda.make_graphed_callables(
                stack, samples, num_warmup_iters=WARM_UPS, allow_unused_input=True, pool=self.pool
            )
        return graphed


class _Stack(nn.Module):
    """The backbone as a function of tensors alone, with the adapter's weights as its own."""

    def __init__(self, plain: Callable[..., Any], trained: list[nn.Parameter], longest: int) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)
        self.plain, self.longest = plain, longest

    def forward(self, ids: Tensor, positions: Tensor, bounds: Tensor) -> Tensor:
        torch._dynamo.mark_dynamic(bounds, 0)
        out = self.plain(
            input_ids=ids,
            position_ids=positions,
            attention_mask=bounds_known(ids.device),
            cu_seq_lens_q=bounds,
            cu_seq_lens_k=bounds,
            max_length_q=self.longest,
            max_length_k=self.longest,
            use_cache=False,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden
