import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.losses import class_weights
from tailgrad.losses.class_weights import SCHEMES

CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
PV = [207, 193, 190, 103, 69, 123]
COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (PV, [0.7126, 0.7642, 0.7763, 1.4320, 2.1377, 1.1992]),
        (CIFAR10_LT, [0.2481, 0.4139, 0.6908, 1.1519, 1.9234, 3.2057, 5.3474, 8.9252, 14.9470, 24.8120]),
        ([100, 10, 1], [0.37, 3.7, 37.0]),
    ],
)
def test_inverse_worked_numbers(counts: list[int], expected: list[float]) -> None:
    assert class_weights(counts, "inverse") == pytest.approx(expected, abs=6e-5)


def test_inverse_on_the_images_left_after_the_papers_test_set() -> None:
    left = [n - t for n, t in zip(PV, [40, 41, 44, 19, 13, 25], strict=True)]
    expected = [0.7016, 0.7708, 0.8025, 1.3948, 2.0923, 1.1956]
    assert class_weights(left, "inverse") == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (0.9, [0.239329, 0.367442, 2.393229]),
        (0.99, [0.042237, 0.280044, 2.677719]),
        (0.9999, [0.027159, 0.270369, 2.702472]),
    ],
)
def test_effective_worked_numbers(beta: float, expected: list[float]) -> None:
    assert class_weights([100, 10, 1], "effective", beta=beta) == pytest.approx(expected, abs=1e-6)


def test_effective_numbers_themselves() -> None:
    weights = class_weights([100, 10, 1], "effective", beta=0.9)
    numbers = [weights[2] / w for w in weights]  # E of one example is 1
    assert numbers == pytest.approx([9.999734, 6.513216, 1.0], abs=1e-6)


def test_effective_on_cifar10_lt() -> None:
    expected = [0.050611, 0.076900, 0.121134, 0.195037, 0.318805]
    expected += [0.524590, 0.868349, 1.442627, 2.409223, 3.992724]
    assert class_weights(CIFAR10_LT, "effective", beta=0.9999) == pytest.approx(expected, abs=1e-6)


def test_effective_limits_in_beta() -> None:
    assert class_weights([100, 10, 1], "effective", beta=0.0) == [1.0, 1.0, 1.0]
    inverse = np.array([1 / 100, 1 / 10, 1.0])
    near_one = class_weights([100, 10, 1], "effective", beta=1 - 1e-12)
    assert near_one == pytest.approx(3 * inverse / inverse.sum(), rel=1e-9)


def test_inverse_sqrt_has_the_ratio_of_the_public_form() -> None:
    weights = np.array(class_weights([100, 25, 4], "inverse_sqrt"))
    assert weights / weights[-1] == pytest.approx([(4 / n) ** 0.5 for n in (100, 25, 4)])


@given(COUNTS, st.sampled_from(["inverse", "inverse_sqrt"]))
def test_mean_weight_of_an_example_is_one(counts: list[int], scheme: str) -> None:
    assert np.dot(counts, class_weights(counts, scheme)) == pytest.approx(sum(counts))


@given(COUNTS, st.floats(0, 0.999999))
def test_effective_weights_sum_to_the_number_of_classes(counts: list[int], beta: float) -> None:
    assert sum(class_weights(counts, "effective", beta=beta)) == pytest.approx(len(counts))


@given(st.integers(1, 10**6), st.integers(1, 20), st.sampled_from(SCHEMES))
def test_equal_counts_give_ones(count: int, classes: int, scheme: str) -> None:
    assert class_weights([count] * classes, scheme) == pytest.approx([1.0] * classes)


@given(COUNTS, st.sampled_from(SCHEMES))
def test_rarer_never_weighs_less(counts: list[int], scheme: str) -> None:
    pairs = sorted(zip(counts, class_weights(counts, scheme), strict=True))
    values = [w for _, w in pairs]
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(values))
    assert all(math.isfinite(w) and w > 0 for w in values)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match=r"class_counts\[1\]=0"):
        class_weights([5, 0], "effective")
    with pytest.raises(InputError, match="did you mean 'inverse'"):
        class_weights([5, 1], "invers")
    for beta in (1.0, -0.1, math.nan):
        with pytest.raises(InputError, match="beta"):
            class_weights([5, 1], "effective", beta=beta)
