"""Self-paced ensemble: the bins' arithmetic, what members see, and scikit-learn's own checks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import RandomState
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from tailgrad.checks import InputError
from tailgrad.samplers import SelfPacedEnsemble
from tailgrad.samplers.self_paced_ensemble import balanced_subset, bin_quotas

Bins = st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), min_size=1, max_size=6)


@parametrize_with_checks([SelfPacedEnsemble(n_estimators=4, random_state=0)])
def test_scikit_learn_accepts_it(estimator: Any, check: Any) -> None:
    check(estimator)


@given(bins=Bins, alpha=st.floats(0, 1e17), share=st.floats(0, 1))
def test_quotas_fill_the_number_within_the_bins(
    bins: list[tuple[int, float]], alpha: float, share: float
) -> None:
    sizes, hardness = np.array([n for n, _ in bins]), np.array([h for _, h in bins])
    number = int(share * sizes.sum())
    quotas = bin_quotas(sizes, sizes * hardness, alpha, number)
    assert quotas.sum() == number
    assert ((quotas >= 0) & (quotas <= sizes)).all()
    free = (quotas < sizes) & (quotas > 1)
    weights = 1 / np.maximum(hardness + alpha, 1e-12)
    for a in np.flatnonzero(free):
        for b in np.flatnonzero(free):
            # In proportion to the weights, each up to the rounding to whole examples.
            assert (quotas[a] - 1) / weights[a] <= (quotas[b] + 1) / weights[b] * (1 + 1e-9)


def test_alpha_goes_from_equal_hardness_to_equal_numbers() -> None:
    sizes, means = np.array([90, 0, 60, 40]), np.array([0.1, 0.0, 0.4, 0.8])
    first = bin_quotas(sizes, sizes * means, 0.0, 26)
    assert first.tolist() == [19, 0, 5, 2]  # 26 in proportion to 10, 2.5, 1.25
    last = bin_quotas(sizes, sizes * means, float(np.tan(np.pi / 2)), 27)
    assert last.tolist() == [9, 0, 9, 9]


def test_a_subset_holds_the_smallest_class_and_as_many_of_the_others() -> None:
    target = np.repeat([0, 1, 2], [50, 20, 6])
    hardness = np.where(np.arange(76) % 2, 0.9, 0.1)
    for alpha in (0.0, 0.3, 1e16):
        chosen = balanced_subset(target, hardness, alpha, 5, RandomState(0))
        assert np.bincount(target[chosen]).tolist() == [6, 6, 6]
        assert len(set(chosen)) == 18
        assert set(chosen) >= set(range(70, 76))
    easy = hardness[balanced_subset(target, hardness, 0.0, 5, RandomState(0))[:6]] == 0.1
    assert easy.sum() == 5  # 5.4 to 0.6


class Watcher(ClassifierMixin, BaseEstimator):
    """Remembers what it was fitted on and believes in class 0 by the first feature."""

    seen: list[np.ndarray] = []  # noqa: RUF012 - shared by clones on purpose

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Watcher":
        self.classes_ = np.unique(y)
        Watcher.seen.append(x[y == 0, 0])
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.stack([1 - x[:, 0], x[:, 0]], 1)


def test_members_see_as_much_of_each_bin_as_the_formula_says() -> None:
    # The hardness of class 0 is its first feature: bins of mean .05, .45 and .95 with many examples each.
    x = np.concatenate([np.repeat([0.05, 0.45, 0.95], [4000, 3000, 2000]), np.full(500, 0.5)])[:, None]
    y = np.repeat([0, 1], [9000, 500])
    Watcher.seen = []
    SelfPacedEnsemble(Watcher(), n_estimators=5, k_bins=3, random_state=0).fit(x, y)
    for i, seen in enumerate(Watcher.seen):
        found = [int((seen == value).sum()) for value in (0.05, 0.45, 0.95)]
        assert sum(found) == 500
        weights = 1 / (np.array([0.05, 0.45, 0.95]) + np.tan(np.pi / 2 * i / 4))
        wanted = 500 * weights / weights.sum()
        if i == 0:  # nobody knows what is hard yet
            wanted = 500 * np.array([4, 3, 2]) / 9
        assert np.abs(found - wanted).max() < (50 if i == 0 else 1.01)


def test_it_beats_one_tree_on_rare_classes_and_names_stay_names() -> None:
    random = np.random.default_rng(0)
    target = np.repeat(["many", "few", "rare"], [3000, 150, 30])
    centre = {"many": (0, 0), "few": (1.5, 0), "rare": (0, 1.5)}
    x = np.array([centre[name] for name in target]) + random.normal(0, 0.7, (3180, 2))
    fresh = np.repeat(list(centre), 300)
    test = np.array([centre[name] for name in fresh]) + random.normal(0, 0.7, (900, 2))
    model = SelfPacedEnsemble(n_estimators=10, random_state=1).fit(x, target)
    tree = DecisionTreeClassifier(random_state=1).fit(x, target)
    assert model.classes_.tolist() == ["few", "many", "rare"]
    ours, theirs = (balanced_accuracy_score(fresh, each.predict(test)) for each in (model, tree))
    assert ours > theirs + 0.05
    members = [member.predict_proba(test) for member in model.estimators_]
    np.testing.assert_allclose(model.predict_proba(test), np.mean(members, 0))
    again = SelfPacedEnsemble(n_estimators=10, random_state=1).fit(x, target)
    np.testing.assert_array_equal(again.predict_proba(test), model.predict_proba(test))


def test_members_without_probabilities_vote() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)) + np.repeat([[0, 0], [2, 2]], [50, 10], 0)
    model = SelfPacedEnsemble(RidgeClassifier(), n_estimators=4, random_state=0).fit(
        x, np.repeat([0, 1], [50, 10])
    )
    assert set(np.unique(model.predict_proba(x))) <= {0.0, 0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize(("option", "value"), [("n_estimators", 0), ("k_bins", 0), ("k_bins", 2.5)])
def test_counts_must_be_counts(option: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{option} must be a whole number.*got {value}"):
        SelfPacedEnsemble(**{option: value}).fit([[0.0], [1.0]], [0, 1])
