import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.loss import AsymmetricLossSingleLabel
from torch.nn import functional as F

from tailgrad.losses import AsymmetricLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)


@pytest.mark.parametrize(
    ("smoothing", "expected"),
    [(0.0, [0.407606, 1.407606, 2.407606]), (0.1, [0.380606, 1.316432, 2.249928])],
)
def test_worked_numbers(smoothing: float, expected: list[float]) -> None:
    losses = AsymmetricLoss(smoothing=smoothing, reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 1000), st.sampled_from([0, 0.5, 1, 2.5]), st.sampled_from([0, 1, 4]), st.floats(0, 0.9))
def test_equals_timm_and_its_gradient(seed: int, pos: float, neg: float, smoothing: float) -> None:
    torch.manual_seed(seed)
    logits, target = 3 * torch.randn(6, 4).double().requires_grad_(), torch.randint(4, (6,))
    ours = AsymmetricLoss(gamma_pos=pos, gamma_neg=neg, smoothing=smoothing)(logits, target)
    theirs = AsymmetricLossSingleLabel(gamma_pos=pos, gamma_neg=neg, eps=smoothing)(logits, target)
    torch.testing.assert_close(ours, theirs)
    (mine,), (other,) = torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-7)


def test_without_focusing_it_is_smoothed_cross_entropy() -> None:
    loss = AsymmetricLoss(gamma_pos=0, gamma_neg=0, smoothing=0.2)
    torch.testing.assert_close(loss(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET, label_smoothing=0.2))
