"""On a GPU: log-probabilities over a frozen head and their gradient are exact ones, no further off than TRL's."""

import pytest
import torch
from torch import Tensor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

HIDDEN = 320
FACTOR = 1.0 / 1234  # what a mean over the step's tokens makes of each one's gradient


def exact(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    states = hidden.detach().double().requires_grad_()
    found = (states @ weight.double().T).log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    return found.detach(), torch.autograd.grad(found.sum() * FACTOR, states)[0]


def by_trl(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    from trl.trainer import utils

    return utils._ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32768, None, 1.0, ())[0]


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("tokens", "vocabulary"), [(1, 97), (700, 4096), (3001, 32_064), (5000, 151_936)])
def test_a_frozen_heads_log_probs_and_gradients_are_exact(
    tokens: int, vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sftrun.job.fast import head_kernels
    from sftrun.job.fast.head_kernels import FrozenHeadLogProbs

    monkeypatch.setattr(head_kernels, "TILE_LOGITS", 2**25)  # several tiles, the last one not full
    torch.manual_seed(0)
    hidden = torch.randn(tokens, HIDDEN, device="cuda", dtype=torch.bfloat16).requires_grad_()
    weight = torch.randn(vocabulary, HIDDEN, device="cuda", dtype=torch.bfloat16) / 10
    targets = torch.randint(0, vocabulary, (tokens,), device="cuda")
    targets[0], targets[-1] = 0, vocabulary - 1
    wanted, wanted_gradient = exact(hidden, weight, targets)
    errors = []
    for log_probs in (FrozenHeadLogProbs.apply(hidden, weight, targets), by_trl(hidden, weight, targets)):
        gradient = torch.autograd.grad(log_probs.sum() * FACTOR, hidden)[0]
        assert log_probs.dtype == torch.float32
        assert gradient.dtype == torch.bfloat16
        errors.append((distance(log_probs.detach(), wanted), distance(gradient, wanted_gradient)))
    ours, theirs = errors
    assert ours[0] < max(1.05 * theirs[0], 1e-4)
    assert ours[1] < max(1.05 * theirs[1], 1e-4)
    assert ours[0] < 0.003
    assert ours[1] < 0.01


def test_a_batch_in_which_nothing_is_learnt_gives_nothing() -> None:
    from sftrun.job.fast.head_kernels import FrozenHeadLogProbs

    hidden = torch.randn(0, HIDDEN, device="cuda", dtype=torch.bfloat16).requires_grad_()
    weight = torch.randn(50, HIDDEN, device="cuda", dtype=torch.bfloat16)
    found = FrozenHeadLogProbs.apply(hidden, weight, torch.zeros(0, dtype=torch.long, device="cuda"))
    found.sum().backward()
    assert found.shape == (0,)
    assert hidden.grad is not None
