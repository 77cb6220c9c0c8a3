import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import BalancedSoftmaxLoss

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
COUNTS = st.lists(st.integers(1, 10**6), min_size=2, max_size=8)


def test_worked_numbers() -> None:
    losses = BalancedSoftmaxLoss([100, 10, 1], reduction="none")(LOGITS, torch.arange(3))
    assert losses.tolist() == pytest.approx([0.037432, 3.340017, 6.642602], abs=1e-6)


@given(COUNTS, st.integers(0, 10**6))
def test_is_cross_entropy_with_the_counts_as_factors(counts: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, len(counts), generator=generator, dtype=torch.float64)
    target = torch.randint(len(counts), (5,), generator=generator)
    factors = torch.tensor(counts) * logits.exp()
    expected = -(factors / factors.sum(1, keepdim=True)).gather(1, target[:, None]).log().mean()
    torch.testing.assert_close(BalancedSoftmaxLoss(counts)(logits, target), expected, rtol=1e-6, atol=2e-6)


@given(st.integers(1, 10**6))
def test_equal_counts_are_cross_entropy(count: int) -> None:
    loss = BalancedSoftmaxLoss([count] * 3)
    torch.testing.assert_close(loss(LOGITS, torch.arange(3)), F.cross_entropy(LOGITS, torch.arange(3)))


def test_a_sampled_prior_replaces_the_counts() -> None:
    target = torch.arange(3)
    sampled = BalancedSoftmaxLoss([100, 10, 1], prior=[1, 1, 1])
    torch.testing.assert_close(sampled(LOGITS, target), F.cross_entropy(LOGITS, target))
    same = BalancedSoftmaxLoss(prior=[0.5, 0.05, 0.005])
    torch.testing.assert_close(same(LOGITS, target), BalancedSoftmaxLoss([100, 10, 1])(LOGITS, target))
    assert sampled.correction().log_shift == pytest.approx([-math.log(3)] * 3)


def test_the_shift_stays_out_of_the_logits_and_is_told() -> None:
    loss = BalancedSoftmaxLoss([100, 10, 1])
    before = LOGITS.clone()
    loss(LOGITS, torch.arange(3))
    assert torch.equal(LOGITS, before)
    correction = loss.correction()
    assert correction.kind == "train_shift"
    assert correction.log_shift == pytest.approx([math.log(n / 111) for n in (100, 10, 1)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "class_counts must be given to BalancedSoftmaxLoss, got None"),
        ({"class_counts": [3, 0]}, r"class_counts\[1\]=0"),
        ({"class_counts": [3, 1], "prior": [1.0]}, "prior must hold one number a class, got 1 for 2"),
        ({"prior": [1.0, 0.0]}, r"prior must be positive and finite, got prior\[1\]=0.0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BalancedSoftmaxLoss(**arguments)
