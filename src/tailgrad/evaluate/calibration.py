"""Expected calibration error, overall and per class."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.confusion import Floats, Values, as_numpy
from tailgrad.evaluate.scored import scored


def expected_calibration_error(confidence: Floats, correct: NDArray[np.generic], bins: int = 15) -> float:
    """Gap between confidence and success, averaged over equal-width bins.

    ``ECE = sum_b (n_b / N) |mean confidence in b - share correct in b|``, bins ``((b-1)/B, b/B]``
    (closed on the right; a confidence of exactly 0 joins the first).

    Args:
        confidence: probabilities [N] in [0, 1].
        correct: whether each came true [N] (boolean or 0/1).
        bins: B >= 1.

    Raises:
        InputError: lengths that differ, no value, a confidence outside [0, 1].

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), eq 3.

    Example:
        >>> gap = expected_calibration_error(np.array([0.9, 0.8, 0.6, 0.55]), np.array([1, 1, 0, 1]), bins=10)
        >>> round(gap, 4)
        0.1125
    """
    in_range("bins", bins, 1)
    if confidence.ndim != 1 or confidence.shape != correct.shape or confidence.size == 0:
        raise InputError(
            f"confidence and correct must be [N], N at least 1, got {confidence.shape} and "
            f"{correct.shape}; give one of each an image"
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise InputError(
            f"confidence must be in [0, 1], got {confidence.min()} to {confidence.max()}; give probabilities"
        )
    edges = np.linspace(0, 1, bins + 1)
    which = np.maximum(np.searchsorted(edges, confidence, side="left") - 1, 0)
    gap = np.bincount(which, weights=confidence - correct.astype(np.float64), minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def calibration_errors(logits: Values, target: Values, bins: int = 15) -> tuple[float, tuple[float, ...]]:
    """ECE of the predicted class, and class by class.

    Overall: the largest probability against whether it was right. Class k: its probability on every
    image against whether the image belongs to k (one class against the rest).

    Args:
        logits: [N, K].
        target: [N].
        bins: number of bins.

    Returns:
        The overall figure and K figures.

    Raises:
        InputError: bad shapes, lengths or indices, or logits that are not finite.

    Source: Guo et al. (2017), eq 3; class-wise form from Kull et al., "Beyond temperature scaling" (2019).

    Example:
        >>> overall, by_class = calibration_errors([[0.0, 0.0], [0.0, 0.0]], [0, 1])
        >>> overall, by_class
        (0.0, (0.0, 0.0))
    """
    found = scored(logits, target, bins=bins)
    right = found.predicted == as_numpy(target)
    return expected_calibration_error(found.confidence, right, bins), tuple(found.class_ece.tolist())
