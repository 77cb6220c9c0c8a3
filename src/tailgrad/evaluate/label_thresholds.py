"""One threshold a label, fitted on validation data."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailgrad.evaluate.confusion import Floats, Values, as_numpy
from tailgrad.evaluate.label_scores import checked_labels
from tailgrad.evaluate.thresholds import tune_threshold

HALF = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class LabelThresholds:
    """Probabilities from which on a label counts as there.

    Args:
        values: one a label [L], in [0, 1].
        fitted: whether each was fitted; those of labels without positives in the validation data are 0.5.

    Example:
        >>> LabelThresholds(np.array([0.3]), (True,)).apply([[0.0], [-2.0]]).tolist()
        [[1], [0]]
    """

    values: Floats
    fitted: tuple[bool, ...]

    def apply(self, logits: Values) -> NDArray[np.uint8]:
        """Zeros and ones [N, L]: where ``sigmoid(logits)`` reaches the thresholds."""
        return np.asarray(probabilities(logits) >= self.values, dtype=np.uint8)


def probabilities(logits: Values) -> Floats:
    """``sigmoid(logits)`` in double precision.

    Example:
        >>> probabilities([[0.0]]).tolist()
        [[0.5]]
    """
    z = as_numpy(logits).astype(np.float64)
    e = np.exp(-np.abs(z))
    found: Floats = np.where(z >= 0, 1, e) / (1 + e)
    return found


def fit_label_thresholds(logits: Values, target: Values) -> LabelThresholds:
    """Thresholds that maximise the F1 of each label for itself, on validation data.

    A label without positives there has nothing to be fitted to and keeps 0.5.

    Args:
        logits: [N, L], finite.
        target: zeros and ones [N, L].

    Raises:
        InputError: shapes or values do not fit.

    Source: the maximiser of F1 as in ``tune_threshold``, label by label.

    Example:
        >>> found = fit_label_thresholds([[2.0, 0.0], [-1.0, 1.0], [-3.0, 2.0]], [[1, 0], [1, 0], [0, 0]])
        >>> found.values.round(3).tolist(), found.fitted
        ([0.158, 0.5], (True, False))
    """
    z, y = checked_labels(logits, target)
    scores = probabilities(z)
    fitted = tuple(bool(n) for n in y.sum(0).tolist())
    values = [
        tune_threshold(scores[:, k], y[:, k]).value if fitted[k] else HALF for k in range(scores.shape[1])
    ]
    return LabelThresholds(np.array(values), fitted)
