import pytest
import torch

from tailgrad.losses import DiceLoss, SoftF1Loss

ROWS = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, 1.203911), (1.0, 2.086255)])
def test_worked_numbers(alpha: float, expected: float) -> None:
    loss = DiceLoss(alpha=alpha, smoothing=1e-4, reduction="sum")
    assert loss(ROWS.log(), torch.arange(3)).item() == pytest.approx(expected, abs=1e-6)


def test_without_smoothing_and_factor_it_is_soft_f1() -> None:
    target = torch.tensor([0, 1, 1])
    torch.testing.assert_close(DiceLoss(smoothing=0)(ROWS.log(), target), SoftF1Loss()(ROWS.log(), target))


def test_perfect_predictions_cost_nothing_and_absent_classes_neither() -> None:
    logits = 1e4 * torch.eye(4, dtype=torch.float64)[:2]
    assert DiceLoss()(logits, torch.arange(2)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("p", "sign"), [(0.4, 1), (0.6, -1)])
def test_the_factor_turns_the_gradient_beyond_one_half(p: float, sign: int) -> None:
    own = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([own.log(), (1 - own).log()])[None]
    # Alone in the batch, class 0 falls in cost while p (1 - p) rises.
    loss = DiceLoss(alpha=1.0, reduction="sum")(logits, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss, own)
    assert -slope.item() * sign > 0
