"""SMOTE on columns of categories: imbalanced-learn's SMOTE-NC, and what cannot take such columns."""

import numpy as np
import pytest

from tailgrad.checks import InputError
from tailgrad.samplers import resample
from tailgrad.samplers.resample import METHODS, OF_CATEGORIES

imblearn = pytest.importorskip("imblearn.over_sampling", reason="needs the extra imblearn")

RANDOM = np.random.default_rng(0)
Y = np.repeat([0, 1], [50, 12])
X = np.column_stack([RANDOM.normal(size=62), RANDOM.normal(size=62), RANDOM.integers(0, 4, 62)])


def test_it_is_smote_nc() -> None:
    x, y = resample(X, Y, k_neighbors=4, categories=[2], seed=3)
    wanted = imblearn.SMOTENC([2], k_neighbors=4, random_state=3).fit_resample(X, Y)
    np.testing.assert_allclose(x, wanted[0])
    np.testing.assert_array_equal(y, wanted[1])


def test_made_rows_hold_categories_of_their_own_class() -> None:
    x, y = resample(X, Y, categories=[2])
    assert np.bincount(y).tolist() == [50, 50]
    assert set(x[62:, 2]) <= set(X[Y == 1, 2])


def test_a_class_of_one_row_is_copied() -> None:
    with pytest.warns(UserWarning, match="are copied"):
        x, y = resample(X[:51], Y[:51], categories=[2])
    np.testing.assert_array_equal(x[51:], np.repeat(X[50:51], 49, 0))
    assert y[51:].tolist() == [1] * 49


@pytest.mark.parametrize("method", [m for m in METHODS if m not in OF_CATEGORIES])
def test_methods_of_distances_refuse_categories(method: str) -> None:
    with pytest.raises(InputError, match=f"got '{method}', which measures distances .* choose from smote"):
        resample(X, Y, method, categories=[2])


@pytest.mark.parametrize(
    ("categories", "words"),
    [([3], "columns of features, 0 ... 2, got 3"), ([0, 1, 2], "must have a numeric column for 'smote'")],
)
def test_columns_that_are_not_there_or_are_all(categories: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        resample(X, Y, categories=categories)
