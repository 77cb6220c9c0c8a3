"""An ensemble over balanced subsets, drawn by how hard the examples are for it so far."""

from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.preprocessing import LabelEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tailgrad.samplers.whole_number import whole

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class SelfPacedEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Mean of T classifiers, each fitted on all examples of the smallest class and as many of every other.

    Member 0 gets a random subset. For member i the examples of a class are put into k bins of equal width by
    their hardness ``h = 1 - p_y`` under the members so far; bin b gives examples in proportion to
    ``1 / (mean h in b + alpha)`` with ``alpha = tan(pi / 2 * i / (T - 1))``: first as much hardness from each
    bin, at last as many examples. Empty bins give none; a bin that runs out leaves its part to the others.

    Args:
        estimator: any classifier of scikit-learn's kind; None is a decision tree. Without ``predict_proba``
            the members vote.
        n_estimators: T, at least 1.
        k_bins: k, at least 1.
        random_state: an integer, a ``RandomState`` or None.

    Attributes:
        classes_: class labels [K].
        estimators_: fitted members, T of them; they know classes as 0 ... K - 1.

    Raises:
        InputError: ``n_estimators`` or ``k_bins`` is not a whole number of at least 1.

    Source: Liu et al. 2020, arXiv 1909.03500, and the authors' code. Deviations: with more than two classes
    each one larger than the smallest is treated as their majority is; a class gives exactly as many examples
    as the smallest has (the code rounds every bin up); hardness is averaged over the members alone (a later
    version of the code averages a row of zeros in).

    Example:
        >>> x = np.r_[np.random.default_rng(0).normal(0, 1, (90, 2)), np.full((10, 2), 2.0)]
        >>> model = SelfPacedEnsemble(n_estimators=5, random_state=0).fit(x, np.repeat([0, 1], [90, 10]))
        >>> model.predict([[2.0, 2.0]]), model.predict_proba([[-1.0, -1.0]]).shape
        (array([1]), (1, 2))
    """

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 50,
        k_bins: int = 5,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.k_bins = k_bins
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on features [N, D] and labels [N]."""
        members, bins = whole("n_estimators", self.n_estimators, 1), whole("k_bins", self.k_bins, 1)
        x, labels = validate_data(self, X, y)
        check_classification_targets(labels)
        encoder = LabelEncoder().fit(labels)
        self.classes_, target = encoder.classes_, encoder.transform(labels)
        random = check_random_state(self.random_state)
        self.estimators_: list[Any] = []
        total, hardness = np.zeros((len(x), len(self.classes_))), np.zeros(len(x))
        for i in range(members):
            alpha = float(np.tan(np.pi / 2 * i / max(members - 1, 1)))
            chosen = balanced_subset(target, hardness, alpha, bins, random)
            self.estimators_.append(self._member(random).fit(x[chosen], target[chosen]))
            total += self._probabilities(self.estimators_[-1], x)
            hardness = 1 - total[np.arange(len(x)), target] / (i + 1)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Mean probabilities of the members, [N, K]."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False)
        mean: Floats = np.mean([self._probabilities(member, x) for member in self.estimators_], axis=0)
        return mean

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row, [N]."""
        probabilities = self.predict_proba(X)
        found: NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return found

    def _member(self, random: RandomState) -> Any:
        member = clone(DecisionTreeClassifier() if self.estimator is None else self.estimator)
        seeds = [name for name in member.get_params() if name.rpartition("__")[2] == "random_state"]
        return member.set_params(**{name: random.randint(2**31 - 1) for name in sorted(seeds)})

    def _probabilities(self, member: Any, x: Floats) -> Floats:
        if hasattr(member, "predict_proba"):
            found: Floats = np.asarray(member.predict_proba(x), dtype=np.float64)
            return found
        votes: Floats = np.eye(len(self.classes_))[member.predict(x)]
        return votes


def balanced_subset(
    target: Indices, hardness: Floats, alpha: float, bins: int, random: RandomState
) -> Indices:
    """As many examples of every class as the smallest has, by ``bin_quotas``.

    Args:
        target: classes [N], 0 ... K - 1, all present.
        hardness: [N], 0 to 1.
        alpha: at least 0.
        bins: k.
        random: what chance is drawn from.

    Example:
        >>> target = np.array([0, 0, 0, 0, 1])
        >>> target[balanced_subset(target, np.zeros(5), 0.0, 5, RandomState(0))]
        array([0, 1])
    """
    smallest = int(np.bincount(target).min())
    chosen = []
    for label in range(target.max() + 1):
        members = np.flatnonzero(target == label)
        place = _bin_of(hardness[members], bins)
        sizes = np.bincount(place, minlength=bins)
        sums = np.bincount(place, hardness[members], minlength=bins).astype(np.float64)
        for b, number in enumerate(bin_quotas(sizes, sums, alpha, smallest)):
            chosen.append(random.choice(members[place == b], number, replace=False))
    return np.concatenate(chosen)


def bin_quotas(sizes: Indices, sums: Floats, alpha: float, number: int) -> Indices:
    """How many of ``number`` examples each bin gives: in proportion to ``1 / (mean + alpha)``.

    Args:
        sizes: examples in each bin [k], at least ``number`` in all.
        sums: of their hardness [k].
        alpha: at least 0.
        number: examples wanted.

    Example:
        >>> bin_quotas(np.array([50, 0, 50]), np.array([5.0, 0.0, 45.0]), 0.0, 20)
        array([18,  0,  2])
        >>> bin_quotas(np.array([50, 0, 4]), np.array([5.0, 0.0, 3.6]), 1e16, 20)
        array([16,  0,  4])
    """
    filled = sizes > 0
    weights = np.zeros(len(sizes))
    # A bin without hardness weighs most where alpha is 0, but not infinitely.
    weights[filled] = 1 / np.maximum(sums[filled] / sizes[filled] + alpha, 1e-12)
    quotas, free = np.zeros(len(sizes)), filled
    while free.any():
        part = np.where(free, weights, 0.0)
        quotas = np.where(free, (number - quotas[~free].sum()) * part / part.sum(), quotas)
        short = free & (quotas > sizes)
        if not short.any():
            break
        quotas, free = np.where(short, sizes, quotas), free & ~short
    return _rounded(quotas, sizes, number)


def _rounded(quotas: Floats, sizes: Indices, number: int) -> Indices:
    counts = np.floor(quotas + 1e-9).astype(np.int64)
    rest = np.where(counts < sizes, quotas - counts, -1.0)
    counts[np.argsort(-rest, kind="stable")[: number - counts.sum()]] += 1
    return counts


def _bin_of(hardness: Floats, bins: int) -> Indices:
    low, width = hardness.min(), np.ptp(hardness)
    # All alike: one bin, which is random under-sampling.
    scaled = (hardness - low) / width if width > 0 else np.zeros_like(hardness)
    return np.minimum((scaled * bins).astype(np.int64), bins - 1)
