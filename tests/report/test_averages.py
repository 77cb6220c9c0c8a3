import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailgrad.report.averages import mean_over, pair_mean, pooled

VALUES = st.one_of(st.floats(-1, 1), st.just(float("nan")))


@given(arrays(np.float64, (4, 3, 3), elements=VALUES))
def test_mean_over_agrees_with_nanmean(stack: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wanted = np.nanmean(stack, axis=0)
    np.testing.assert_allclose(mean_over(list(stack)), wanted, atol=1e-12)


def test_pair_mean_leaves_out_the_diagonal_and_what_is_missing() -> None:
    nan = float("nan")
    assert pair_mean(np.array([[1, 0.2, nan], [0.4, 1, nan], [nan, nan, nan]])) == pytest.approx(0.3)
    assert np.isnan(pair_mean(np.ones((1, 1))))


def test_pooling_by_one_changes_nothing() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(pooled(matrix, np.array_split(np.arange(3), 3)), matrix)
