"""What a replay does with gradients, on graphs whose passes are Python's: CUDA's are in tests/gpu."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sftrun.job.fast import graphed as graphs


class Pass:
    """Stands for a `torch.cuda.CUDAGraph`."""

    def __init__(self, replay: Callable[[], None]) -> None:
        self.replay = replay


def captured(weight: nn.Parameter) -> graphs._Captured:
    """x → weight · x, whose gradient lies where the forward pass keeps what it computes, as in a pool."""
    made = object.__new__(graphs._Captured)
    shared = torch.zeros(3)
    made.inputs, made.trained = (torch.zeros(3),), [weight]
    made.out, made.out_grad, made.gradients = torch.zeros(()), torch.zeros(()), (shared,)

    def forward() -> None:
        shared.copy_(torch.full((3,), 7.0))
        made.out.copy_(weight.detach() @ made.inputs[0])

    made.forward, made.backward = (Pass(do) for do in (forward, lambda: shared.copy_(made.out_grad * made.inputs[0])))  # type: ignore[assignment]
    return made


def passes(graph: graphs._Captured, *inputs: Tensor) -> None:
    for one in inputs:
        anchor = torch.empty(0, requires_grad=True)
        loss: Tensor = 2 * graphs._Replay.apply(anchor, graph, one)
        loss.backward()  # type: ignore[no-untyped-call]


def test_a_replay_lays_down_gradients_that_add_up() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    graph, a, b = captured(weight), torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 5.0, 1.0])
    for inputs in ((a,), (a, b), (a, a, b), (b,)):
        passes(graph, *inputs)
        assert weight.grad is not None
        assert torch.equal(weight.grad, 2 * torch.stack(inputs).sum(0))
        weight.grad = None


def test_a_gradient_is_laid_out_as_its_weight() -> None:
    weight, transposed = torch.zeros(4, 3), torch.arange(12.0).view(3, 4).t()
    found = graphs._laid_out_as(weight, transposed)
    assert found is not None
    assert found.stride() == weight.stride()
    assert torch.equal(found, transposed)
    same = torch.ones(4, 3)
    assert graphs._laid_out_as(weight, same) is same
    assert graphs._laid_out_as(weight, None) is None


@pytest.mark.parametrize("hook", ["register_post_accumulate_grad_hook", "register_hook"])
def test_hooks_keep_steps_from_being_captured(hook: str) -> None:
    backbone = nn.Linear(3, 2)
    graphed = graphs.GraphedBackbone(backbone, lambda: None)
    assert len(graphed._trained()) == 2
    getattr(backbone.weight, hook)(lambda grad: None)
    assert graphed._trained() == []
