import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evaluate import cosine_matrix_possible, mean_cosine_possible


@given(st.integers(2, 12), st.integers(1, 20), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_printed_cosines_of_real_vectors_are_consistent(
    classes: int, size: int, seed: int, digits: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(classes, size))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    printed = (units @ units.T).round(digits)
    findings = cosine_matrix_possible(printed.tolist(), 0.5 * 10.0**-digits)
    assert [finding.verdict for finding in findings] == ["consistent", "consistent"]


@pytest.mark.parametrize(("classes", "least"), [(6, -0.2), (10, -1 / 9)])
def test_the_simplex_has_the_smallest_mean_there_is(classes: int, least: float) -> None:
    simplex = np.full((classes, classes), least)
    np.fill_diagonal(simplex, 1.0)
    whole, mean = cosine_matrix_possible(simplex.tolist())
    assert (whole.verdict, mean.verdict) == ("consistent", "consistent")
    assert mean.numbers["least"] == pytest.approx(least)
    assert mean_cosine_possible(least - 0.001, classes).verdict == "impossible"
    assert mean_cosine_possible(least - 0.001, classes, error=0.002).verdict == "consistent"


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]],
        [[1, 0.5], [0.1, 1]],
        [[0.8, 0.5], [0.5, 1]],
        [[1, 1.2], [1.2, 1]],
    ],
)
def test_what_no_vectors_have_is_impossible(matrix: list[list[float]]) -> None:
    assert cosine_matrix_possible(matrix, 0.005)[0].verdict == "impossible"


@pytest.mark.parametrize("matrix", [[[1.0]], [[1, 0], [0]], [[1, float("nan")], [0, 1]], [["a", 0], [0, 1]]])
def test_what_is_no_matrix_is_refused(matrix: list[list[float]]) -> None:
    with pytest.raises(InputError, match="matrix must be K rows of K"):
        cosine_matrix_possible(matrix)
