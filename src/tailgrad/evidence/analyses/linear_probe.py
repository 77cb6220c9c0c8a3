"""How much of the classes a linear classifier finds in features that stay as they are."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

Features = NDArray[np.float64]
Labels = NDArray[np.int64]


def balanced_index(labels: Labels, seed: int) -> Labels:
    """Positions of as many examples of every class as the rarest has, drawn by seed, ascending.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1])
        >>> np.bincount(labels[balanced_index(labels, seed=0)])
        array([2, 2])
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    few = min(map(len, members))
    return np.sort(np.concatenate([rng.choice(m, few, replace=False) for m in members]))


def probe(train: Features, labels: Labels, test: Features) -> Labels:
    """Classes [M] that a logistic regression on ``train`` sees in ``test``.

    Features are standardised by those of ``train``; the penalty is scikit-learn's default, the same for all.

    Args:
        train: features [N, D], as many of every class.
        labels: their classes [N].
        test: features [M, D].

    Example:
        >>> probe(np.array([[0.0], [1.0]]), np.array([0, 1]), np.array([[0.1], [0.8]]))
        array([0, 1])
    """
    mean, scale = train.mean(0), train.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    model = LogisticRegression(max_iter=500)
    with warnings.catch_warnings():  # a probe that is nearly at its optimum predicts as one that is there
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((train - mean) / scale, labels)
    found: Labels = model.predict((test - mean) / scale)
    return found
