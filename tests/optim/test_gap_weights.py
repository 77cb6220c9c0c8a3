"""Weights that lean to the classes with most left to gain."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.optim import GapWeights

Y = torch.tensor([2, 0, 0, 2, 2])


@given(
    baseline=st.lists(st.floats(0.05, 20), min_size=1, max_size=6),
    ratio=st.floats(0.1, 3),
)
def test_equal_ratios_give_weights_of_one(baseline: list[float], ratio: float) -> None:
    target = torch.arange(len(baseline))
    objective, losses = GapWeights(baseline, scale="published"), ratio * torch.tensor(baseline)
    torch.testing.assert_close(objective.weights(losses, target), torch.ones(len(baseline)))
    torch.testing.assert_close(objective(losses, target), losses.log().sum())


def test_worked_numbers() -> None:
    # L = (1, 3), L / L_base = (.5, 1): w = 2 softmax = 2 / (1 + e^.5), 2 - that; objective w_2 log 3.
    losses = torch.tensor([0.0, 0.5, 1.5, 4.0, 5.0])
    first = 2 / (1 + math.exp(0.5))
    value = GapWeights([2.0, 9.0, 3.0], scale="published")(losses, Y)
    assert float(value) == pytest.approx((2 - first) * math.log(3), rel=1e-5)
    assert float(GapWeights([2.0, 9.0, 3.0])(losses, Y)) == pytest.approx(float(value) / 2)


def test_weights_carry_no_gradient() -> None:
    losses = torch.tensor([0.3, 0.5, 1.5, 4.0, 5.0], requires_grad=True)
    objective = GapWeights([2.0, 9.0, 3.0], scale="published")
    objective(losses, Y).backward()
    means = torch.tensor([1.0, 9.3 / 3])
    weights = objective.weights(means, torch.tensor([0, 2]))
    # d / d loss_i = w_c / (L_c n_c)
    expected = torch.tensor(
        [weights[1] / 9.3, weights[0] / 2, weights[0] / 2, weights[1] / 9.3, weights[1] / 9.3]
    )
    torch.testing.assert_close(losses.grad, expected)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    losses, objective = torch.arange(1.0, 6.0), GapWeights([2.0, 9.0, 3.0])
    assert torch.equal(objective(losses, Y.to(dtype)), objective(losses, Y))


def test_the_class_further_above_its_baseline_weighs_more() -> None:
    weights = GapWeights([1.0, 1.0]).weights(torch.tensor([0.2, 2.0]), torch.arange(2))
    assert weights[1] > weights[0]
    assert float(weights.sum()) == pytest.approx(2.0)


def test_a_loss_of_zero_is_floored() -> None:
    losses = torch.zeros(5, requires_grad=True)
    value = GapWeights([1.0, 1.0, 1.0])(losses, Y)
    value.backward()
    assert value.item() == pytest.approx(math.log(1e-6))
    assert losses.grad is not None
    assert losses.grad.isfinite().all()


@pytest.mark.parametrize(
    ("baseline", "message"),
    [([], "baseline must hold one loss a class, got none"), ([1.0, 0.0], r"baseline\[1\] must be in")],
)
def test_bad_baselines(baseline: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GapWeights(baseline)


@pytest.mark.parametrize(
    ("losses", "target", "message"),
    [
        (torch.tensor(1.0), Y, 'use reduction="none"'),
        (torch.ones(5), Y[:2], r"got \[5\] and torch.int64 \[2\]"),
        (torch.ones(5), Y.float(), "got .* torch.float32"),
        (torch.ones(5), Y + 1, r"target must be in 0..2, got 1..3"),
        (torch.ones(5), Y - 1, r"target must be in 0..2, got -1..1"),
    ],
)
def test_bad_input(losses: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GapWeights([1.0, 1.0, 1.0])(losses, target)
    with pytest.raises(InputError, match="scale must be a known name"):
        GapWeights([1.0], scale="sum")
