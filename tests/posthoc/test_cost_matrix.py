import math

import pytest
import torch

from tailgrad.posthoc import CostMatrix

LOGITS = 2 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).double()


def test_arg_max_has_the_least_expected_cost() -> None:
    cost = torch.rand(4, 4, generator=torch.Generator().manual_seed(1)) * 10
    scores = CostMatrix(cost=cost).transform(LOGITS)
    p = LOGITS.softmax(1)
    expected = torch.tensor(
        [[sum(float(cost[a, y] * row[y]) for y in range(4)) for a in range(4)] for row in p]
    ).double()
    assert torch.equal(scores.argmax(1), expected.argmin(1))
    # Minus the expected cost, up to one number a row, as a logarithm.
    row = scores.exp() + expected
    torch.testing.assert_close(row, row[:, :1].expand_as(row), rtol=1e-5, atol=1e-5)


def test_zero_one_cost_is_the_arg_max() -> None:
    method = CostMatrix(cost=1 - torch.eye(4))
    torch.testing.assert_close(method.transform(LOGITS), LOGITS.log_softmax(1))
    assert method.correction() is None
    # Probabilities that differ in their last digits are still told apart.
    near = torch.zeros(1, 4)
    near[0, 2] = 1e-6
    assert method.transform(near).argmax() == 2


def test_costs_of_the_true_class_are_a_shift() -> None:
    by_class = torch.tensor([1.0, 2.0, 5.0, 0.5])
    method = CostMatrix(cost=by_class * (1 - torch.eye(4)))
    correction = method.correction()
    assert correction is not None
    assert correction.kind == "test_shift"
    assert correction.log_shift == pytest.approx([-math.log(c) for c in by_class])
    shifted = LOGITS - torch.tensor(correction.log_shift)
    assert torch.equal(method.transform(LOGITS).argmax(1), shifted.argmax(1))


@pytest.mark.parametrize(
    "cost", [[[0, 1, 1], [2, 0, 1], [1, 1, 0]], [[0, 0, 1], [1, 0, 1], [1, 0, 0]], torch.zeros(3, 3)]
)
def test_other_costs_are_listed(cost: list[list[float]]) -> None:
    correction = CostMatrix(cost=cost).correction()
    assert correction is not None
    assert correction.kind == "listed"
