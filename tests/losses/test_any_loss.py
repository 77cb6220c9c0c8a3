import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import AnyLoss, SoftF1Loss

ROWS = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]], dtype=torch.float64)


def test_worked_numbers() -> None:
    found = AnyLoss()(ROWS.log(), torch.arange(3))
    assert found.item() == pytest.approx(0.111224, abs=1e-6)
    assert found.item() == pytest.approx(1 - (1 + 0.999662 + 0.666667) / 3, abs=1e-6)


def test_steep_counts_are_those_of_hard_predictions() -> None:
    torch.manual_seed(0)
    target = torch.randint(4, (10,))
    logits = 20 * F.one_hot(torch.randint(4, (10,)), 4).double()
    torch.testing.assert_close(
        AnyLoss()(logits, target), SoftF1Loss()(50 * logits, target), rtol=1e-6, atol=0
    )


def test_perfect_predictions_cost_nothing_with_classes_absent() -> None:
    logits = 20 * torch.eye(4)[:2]
    assert AnyLoss()(logits, torch.arange(2)).item() == pytest.approx(0, abs=1e-6)


def test_annealing_is_geometric_by_epoch_and_brings_gradients() -> None:
    loss = AnyLoss(steepness=80.0, start_steepness=5.0, anneal_epochs=4)
    for epoch, expected in [(1, 5.0), (3, 20.0), (5, 80.0), (9, 80.0), (2, 10.0)]:
        loss.set_epoch(epoch)
        assert loss.steepness == pytest.approx(expected)
    assert AnyLoss(anneal_epochs=0).steepness == 73
    logits = torch.tensor([[-6.0, 6.0]], requires_grad=True)
    slopes = []
    for epoch in (1, 5):
        loss.set_epoch(epoch)
        (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([0])), logits)
        slopes.append(gradient.abs().sum().item())
    assert slopes[0] > 1e6 * slopes[1]


@pytest.mark.parametrize("option", ["steepness", "start_steepness", "anneal_epochs"])
def test_bad_options_are_named(option: str) -> None:
    with pytest.raises(InputError, match=f"{option} .* got -1"):
        AnyLoss(**{option: -1})
