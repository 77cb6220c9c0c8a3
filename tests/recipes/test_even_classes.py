"""The correction of the prior by counting every class of a batch the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.losses import class_weights
from tailgrad.recipes.config import CombineConfig
from tailgrad.recipes.even_classes import even_correction

EVEN = CombineConfig(name="pcgrad")
COUNTS = st.lists(st.integers(1, 500), min_size=2, max_size=8)


def _weights(counts: list[int], batch_size: int) -> list[float]:
    found = even_correction(EVEN, counts, batch_size)
    assert found is not None
    assert found.kind == "weight"
    return [math.exp(shift) for shift in found.log_shift]


@pytest.mark.parametrize(
    ("counts", "batch_size"),
    [([500, 100, 20, 4], 16), ([500, 100, 20, 4], 64), ([100, 50, 30, 20, 10, 5, 5], 32), ([3, 1], 2)],
)
def test_against_drawn_batches(counts: list[int], batch_size: int) -> None:
    share = np.array(counts) / sum(counts)
    there = np.random.default_rng(0).multinomial(batch_size, share, size=100_000) > 0
    drawn = (there / there.sum(1, keepdims=True)).mean(0) / share
    np.testing.assert_allclose(_weights(counts, batch_size), drawn, rtol=0.04)


@given(COUNTS, st.sampled_from([1, 2]))
def test_batches_of_one_or_two_examples_correct_nothing(counts: list[int], batch_size: int) -> None:
    """With two, 1/m is 1 where both are of class k and 1/2 where one is: pi^2 + 2 pi (1 - pi) / 2 = pi."""
    assert _weights(counts, batch_size) == pytest.approx([1.0] * len(counts))


@given(COUNTS)
def test_huge_batches_weigh_by_inverse_frequency(counts: list[int]) -> None:
    assert _weights(counts, 10**6) == pytest.approx(class_weights(counts, "inverse"))


@given(COUNTS, st.integers(1, 300))
def test_the_mean_weight_of_an_example_is_one_and_rarer_classes_weigh_more(
    counts: list[int], batch_size: int
) -> None:
    weights = _weights(counts, batch_size)
    assert np.dot(weights, counts) == pytest.approx(sum(counts))
    order = np.argsort(counts)[::-1]
    assert (np.diff(np.array(weights)[order]) >= -1e-9).all()


def test_a_class_without_examples_is_not_shifted() -> None:
    found = even_correction(EVEN, [5, 0, 5], 8)
    assert found is not None
    assert found.log_shift == pytest.approx((0.0, 0.0, 0.0))


def test_who_corrects() -> None:
    corrects = {
        name: even_correction(CombineConfig(name=name), [3, 1], 8) is not None
        for name in ("none", "mgda", "share_balancer", "gap_weights")
    }
    assert corrects == {"none": False, "mgda": True, "share_balancer": False, "gap_weights": True}
    assert even_correction(CombineConfig(name="mgda", prior="batch"), [3, 1], 8) is None
