"""Whether the stated probabilities come true, class by class."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import in_range
from tailgrad.evaluate.calibration import expected_calibration_error
from tailgrad.evaluate.confusion import Floats, Integers
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import wilson


@dataclass(frozen=True, slots=True)
class ClassCalibration:
    """How far the probabilities of one class are from what comes true.

    Args:
        predicted: test images predicted as the class.
        images: test images of the class.
        gap_predicted: mean confidence less the share right, over the images predicted as the class: above 0
            it promises too much; None where nothing is predicted as it.
        gap_true: the same over the images of the class; not 0 for calibrated probabilities either, for these
            do not know the class; None without a test image.
        ece: the class's probability against belonging to it, over all images, 15 bins of equal width.
        debiased: the same as a root mean square over bins of equal size, less what chance gives.

    Example:
        >>> ClassCalibration(0, 3, None, Estimate(0.2, 0.1, 0.3), 0.1, 0.0).gap_predicted is None
        True
    """

    predicted: int
    images: int
    gap_predicted: Estimate | None
    gap_true: Estimate | None
    ece: float
    debiased: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


def debiased_calibration_error(confidence: Floats, correct: NDArray[np.generic], bins: int = 15) -> float:
    """Root mean square gap between confidence and success, less what chance alone gives.

    ``sqrt(max(0, sum_b (n_b / N) [(conf_b - acc_b)^2 - acc_b (1 - acc_b) / (n_b - 1)]))`` over bins that hold
    about as many values each, two at least; equal values share a bin, alone where they fill one, and a bin of
    one value counts 0. Of calibrated probabilities the sum is 0 on average, where the plain error grows with
    the number of bins.

    Args:
        confidence: probabilities [N] in [0, 1].
        correct: whether each came true [N] (boolean or 0/1).
        bins: B >= 1.

    Raises:
        InputError: as `expected_calibration_error`.

    Source: Kumar, Liang and Ma, "Verified uncertainty calibration" (2019), the debiased estimator.

    Example:
        >>> debiased_calibration_error(np.array([0.5] * 4), np.array([1, 0, 1, 0]))
        0.0
        >>> round(debiased_calibration_error(np.array([0.9] * 4), np.array([0, 0, 0, 0])), 3)
        0.9
    """
    expected_calibration_error(confidence, correct, bins)  # refuses what does not fit
    which = np.searchsorted(_edges(confidence, bins), confidence, side="left")
    size = np.bincount(which)
    some = size > 1
    mean = np.bincount(which, weights=confidence)[some] / size[some]
    share = np.bincount(which, weights=correct.astype(np.float64))[some] / size[some]
    squared = (mean - share) ** 2 - share * (1 - share) / (size[some] - 1)
    return math.sqrt(max(0.0, float((size[some] * squared).sum() / len(confidence))))


def _edges(confidence: Floats, bins: int) -> Floats:
    """The largest value of every bin but the last."""
    bins = min(bins, max(1, len(confidence) // 2))
    last, ends = len(confidence) - 1, np.arange(1, bins)
    edges = np.sort(confidence)[-(-last * ends // bins)]  # whole numbers: no quantile is lost to rounding
    values, counts = np.unique(confidence, return_counts=True)
    full = np.flatnonzero(counts * bins >= len(confidence))
    return np.unique(np.concatenate([edges, values[full], values[full[full > 0] - 1]]))


def class_calibration(
    probabilities: Floats, target: Integers, bins: int = 15, level: float = 0.95
) -> tuple[ClassCalibration, ...]:
    """Calibration of every class, in class order.

    Intervals are Wilson's of the share right, with the stated probabilities taken as given. The two errors
    have none: they cannot fall below 0, and few images push them up.

    Args:
        probabilities: [N, K], rows that sum to 1.
        target: class indices [N].
        bins: of the two errors, at least 1.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: a parameter out of range, or probabilities outside [0, 1].

    Example:
        >>> found = class_calibration(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
        >>> print(found[0].gap_predicted, found[1].gap_predicted)
        0.350 [-0.055, 0.755] None
    """
    in_range("level", level, 0, 1, exclusive=True)
    predicted = probabilities.argmax(1)
    confidence, right = probabilities.max(1), predicted == target
    found = []
    for k in range(probabilities.shape[1]):
        given, own = predicted == k, target == k
        found.append(
            ClassCalibration(
                int(given.sum()),
                int(own.sum()),
                confidence_gap(confidence[given], right[given], level),
                confidence_gap(confidence[own], right[own], level),
                expected_calibration_error(probabilities[:, k], own, bins),
                debiased_calibration_error(probabilities[:, k], own, bins),
            )
        )
    return tuple(found)


def confidence_gap(confidence: Floats, right: NDArray[np.bool_], level: float = 0.95) -> Estimate | None:
    """Mean confidence less the share right, with Wilson's interval of the latter; None without an image.

    Args:
        confidence: [N] in [0, 1].
        right: whether each image was predicted right [N].
        level: coverage wanted, in (0, 1).

    Example:
        >>> print(confidence_gap(np.array([0.9, 0.7]), np.array([True, False])))
        0.300 [-0.105, 0.705]
    """
    if not len(right):
        return None
    share, mean = wilson(int(right.sum()), len(right), level), float(confidence.mean())
    low, high = mean - float(share.high or 0.0), mean - float(share.low or 0.0)
    return Estimate(mean - share.value, low, high, f"{share.how} of the share right")
