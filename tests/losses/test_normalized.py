import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.losses import NormalizedLoss


def _over_labels(logits: torch.Tensor, **options: float) -> torch.Tensor:
    loss = NormalizedLoss(reduction="none", **options)
    return torch.stack([loss(logits, torch.full((len(logits),), k)) for k in range(logits.shape[1])], 1)


@given(st.integers(0, 1000), st.floats(0, 10), st.floats(0, 10))
def test_sums_over_labels_are_constants(seed: int, alpha: float, beta: float) -> None:
    torch.manual_seed(seed)
    logits = 4 * torch.randn(5, 7).double()
    sums = _over_labels(logits, alpha=alpha, beta=beta).sum(1)
    torch.testing.assert_close(sums, torch.full_like(sums, alpha + beta * 4 * 6))


def test_equals_its_definition() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(4, 5).double()
    p, each = logits.softmax(1), -logits.log_softmax(1)
    active = each / each.sum(1, keepdim=True)
    torch.testing.assert_close(_over_labels(logits, beta=0.0), active)
    # Reverse cross-entropy: -sum_j p_j log q_j with log 0 = -4 off the label.
    logs = -4 * (1 - torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(_over_labels(logits, alpha=0.0), -(p @ logs.T))


def test_symmetric_noise_leaves_the_optimum() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (6,))
    noisy = 0.7 * F.one_hot(target, 4).double() + 0.3 / 4
    gradients = [torch.autograd.grad(NormalizedLoss()(logits, y), logits)[0] for y in (target, noisy)]
    torch.testing.assert_close(gradients[1], 0.7 * gradients[0])


def test_a_certain_answer_costs_nothing() -> None:
    assert NormalizedLoss()(torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(0)
