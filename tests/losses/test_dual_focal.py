import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.losses import DualFocalLoss, FocalLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)


def _brute(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    values = []
    for row, y in zip(logits.softmax(1), target.tolist(), strict=True):
        lower = [p for p in row if p < row[y]]
        below = max(lower) if lower else torch.zeros(())
        values.append(-((1 - row[y] + below) ** gamma) * row[y].log())
    return torch.stack(values)


def test_worked_numbers() -> None:
    losses = DualFocalLoss(gamma=2.0, reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx([0.136876, 1.005785, 1.993605], abs=1e-6)


@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_equals_its_definition_and_gradient(seed: int, gamma: float) -> None:
    torch.manual_seed(seed)
    logits, target = 2 * torch.randn(5, 6).double().requires_grad_(), torch.randint(6, (5,))
    ours = DualFocalLoss(gamma=gamma, reduction="none")(logits, target)
    theirs = _brute(logits, target, gamma)
    torch.testing.assert_close(ours, theirs)
    (mine,) = torch.autograd.grad(ours.sum(), logits)
    (other,) = torch.autograd.grad(theirs.sum(), logits)
    torch.testing.assert_close(mine, other)


def test_limits_and_ties() -> None:
    plain = DualFocalLoss(gamma=0, reduction="none")(LOGITS, TARGET)
    torch.testing.assert_close(plain, F.cross_entropy(LOGITS, TARGET, reduction="none"))
    lowest = (LOGITS[2:], TARGET[2:])
    torch.testing.assert_close(DualFocalLoss()(*lowest), FocalLoss(gamma=2.0)(*lowest))
    # With the two largest tied, the third is the next below both; with all tied there is none.
    tied = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    p = tied.softmax(1)[0]
    for y in (0, 1):
        found = DualFocalLoss()(tied, torch.tensor([y]))
        torch.testing.assert_close(found, -((1 - p[0] + p[2]) ** 2) * p[0].log())
    flat = torch.zeros(1, 4)
    torch.testing.assert_close(DualFocalLoss()(flat, TARGET[:1]), FocalLoss()(flat, TARGET[:1]))
    torch.testing.assert_close(DualFocalLoss()(flat, torch.eye(4)[:1]), FocalLoss()(flat, TARGET[:1]))
