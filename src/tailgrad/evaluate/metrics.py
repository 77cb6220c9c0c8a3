"""Figures computed from confusion counts [..., K, K] (rows: target, columns: predicted), and the NLL."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.evaluate.confusion import Floats, Values
from tailgrad.evaluate.scored import scored

Counts = NDArray[Any]


def ratio(part: Counts, whole: Counts) -> Floats:
    """``part / whole``, 0 where the denominator is 0.

    Example:
        >>> ratio(np.array([1, 1]), np.array([2, 0])).tolist()
        [0.5, 0.0]
    """
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _true_positives(confusion: Counts) -> Counts:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def precision(confusion: Counts) -> Floats:
    """``P_k = TP_k / (TP_k + FP_k)``, 0 for a class that is never predicted.

    Args:
        confusion: counts [..., K, K].

    Source: CSBA paper (arXiv 2606.05740) eq 56.

    Example:
        >>> precision(np.array([[1, 1], [0, 2]])).round(3).tolist()
        [1.0, 0.667]
    """
    return ratio(_true_positives(confusion), confusion.sum(-2))


def recall(confusion: Counts) -> Floats:
    """``R_k = TP_k / (TP_k + FN_k)``, 0 for a class without a test image.

    Args:
        confusion: counts [..., K, K].

    Source: CSBA paper (arXiv 2606.05740) eq 56.

    Example:
        >>> recall(np.array([[1, 1], [0, 2]])).tolist()
        [0.5, 1.0]
    """
    return ratio(_true_positives(confusion), confusion.sum(-1))


def f1_from_margins(true_positive: Counts, support: Counts, predicted: Counts) -> Floats:
    """``F1_k = 2 TP_k / (support_k + predicted_k)``, 0 for a class neither present nor predicted.

    Args:
        true_positive: correct images of each class [..., K].
        support: images of each class [..., K].
        predicted: images predicted as each class [..., K].

    Example:
        >>> float(f1_from_margins(np.array([3]), np.array([13]), np.array([10])).round(3)[0])
        0.261
    """
    return ratio(2 * true_positive, support + predicted)


def f1(confusion: Counts) -> Floats:
    """``F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k)``, 0 for a class neither present nor predicted.

    Args:
        confusion: counts [..., K, K].

    Source: CSBA paper (arXiv 2606.05740) eq 57.

    Example:
        >>> f1(np.array([[1, 1], [0, 2]])).round(3).tolist()
        [0.667, 0.8]
    """
    return f1_from_margins(_true_positives(confusion), confusion.sum(-1), confusion.sum(-2))


def macro_f1(confusion: Counts) -> float:
    """Mean F1 over all K classes, each with the same weight; zeros are counted, never dropped.

    Source: CSBA paper (arXiv 2606.05740) eq 58.

    Example:
        >>> round(macro_f1(np.array([[1, 1], [0, 2]])), 3)
        0.733
    """
    return float(f1(confusion).mean())


def accuracy(confusion: Counts) -> float:
    """Share of images that are predicted right: ``sum_k TP_k / N``.

    Example:
        >>> accuracy(np.array([[1, 1], [0, 2]]))
        0.75
    """
    return float(np.trace(confusion) / confusion.sum())


def balanced_accuracy(confusion: Counts) -> float:
    """Mean recall over all K classes; on a class-balanced test set it equals accuracy.

    Example:
        >>> balanced_accuracy(np.array([[1, 1], [0, 2]]))
        0.75
    """
    return float(recall(confusion).mean())


def geometric_mean(recalls: Floats) -> Floats:
    """``(prod_k R_k)^(1/K)`` over the last axis, 0 as soon as one class is never found.

    Args:
        recalls: recall of each class [..., K].

    Example:
        >>> round(float(geometric_mean(np.array([0.5, 1.0]))), 3)
        0.707
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log(recalls).mean(-1)))


def negative_log_likelihood(logits: Values, target: Values) -> Floats:
    """``-log softmax(z_n)[y_n]`` of each image [N], in nats.

    Args:
        logits: [N, K].
        target: [N].

    Raises:
        InputError: bad shapes, lengths or indices, or logits that are not finite.

    Example:
        >>> negative_log_likelihood([[0.0, 0.0]], [1]).round(4).tolist()
        [0.6931]
    """
    return scored(logits, target).nll
