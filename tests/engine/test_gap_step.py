"""The step on gap weights' objective."""

import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.engine import Learner, gap_step
from tailgrad.optim import GapWeights
from tailgrad.types import Batch


def _learner(baseline: list[float] | None, reduction: str = "none") -> Learner:
    torch.manual_seed(0)
    net, loss = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), nn.CrossEntropyLoss(reduction=reduction)
    if baseline is not None:
        loss.add_module("gap", GapWeights(baseline))
    return Learner.plain(net, loss, lr=0.5)


def _batch() -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randn(6, 3, 2, 2), torch.tensor([0, 0, 0, 0, 2, 2]), torch.arange(6))


def test_it_descends_the_weighted_logarithms_of_the_class_losses() -> None:
    learner, batch = _learner([1.0, 1.0, 2.0]), _batch()
    layer = learner.network[1]
    weight, bias = (p.detach().clone().double().requires_grad_() for p in (layer.weight, layer.bias))
    losses = nn.functional.cross_entropy(
        batch.inputs.flatten(1).double() @ weight.T + bias, batch.target, reduction="none"
    )
    means = torch.stack([losses[:4].mean(), losses[4:].mean()])
    w = 2 * torch.softmax(means.detach() / torch.tensor([1.0, 2.0]), 0)
    ((w * means.log()).sum() / 2).backward()
    found = gap_step(learner, batch)
    assert float(found) == pytest.approx(float(losses.detach().mean()), rel=1e-5)
    for new, old in ((layer.weight, weight), (layer.bias, bias)):
        assert old.grad is not None
        torch.testing.assert_close(new.detach().double(), old.detach() - 0.5 * old.grad, rtol=1e-4, atol=1e-6)


def test_it_learns() -> None:
    learner = _learner([1.1] * 3)
    losses = [float(gap_step(learner, _batch())) for _ in range(30)]
    assert losses[-1] < 0.2 * losses[0]


def test_a_loss_without_weights_is_refused() -> None:
    with pytest.raises(InputError, match="the loss must carry a GapWeights"):
        gap_step(_learner(None), _batch())


def test_a_reduced_loss_and_mixed_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r'use reduction="none"'):
        gap_step(_learner([1.0] * 3, reduction="mean"), _batch())
    batch = _batch()
    soft = Batch(batch.inputs, nn.functional.one_hot(batch.target, 3).float(), batch.index)
    with pytest.raises(InputError, match="losses and target must be one number and one class index"):
        gap_step(_learner([1.0] * 3), soft)
