"""A decision threshold for one class that matters, tuned on validation data."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.confusion import Integers, Values, as_numpy
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import wilson_f1


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score from which on an image counts as the class in focus.

    Args:
        value: the threshold; a score equal to it counts.
        f1: F1 it reached on the data it was tuned on (optimistic for that reason).

    Example:
        >>> Threshold(0.3, Estimate(0.8)).to_dict()["value"]
        0.3
    """

    value: float
    f1: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Threshold":
        """Inverse of `to_dict`."""
        return cls(fields["value"], Estimate.from_dict(fields["f1"]))


def tune_threshold(scores: Values, is_focus: Values) -> Threshold:
    """Threshold that maximises the F1 of one class.

    Every cut between two neighbouring distinct scores is tried; of equal cuts the highest wins (fewest
    alarms), and the threshold lies midway to the next lower score.

    Args:
        scores: probability of the class on each validation image [N], finite.
        is_focus: whether each image belongs to it [N] (boolean or 0/1).

    Raises:
        InputError: empty or of different lengths, a score that is not finite, no image of the class.

    Example:
        >>> tune_threshold([0.9, 0.4, 0.2, 0.1], [True, True, False, False]).value
        0.30000000000000004
    """
    found, belongs = as_numpy(scores).astype(np.float64), as_numpy(is_focus).astype(bool)
    if found.ndim != 1 or found.shape != belongs.shape or found.size == 0:
        raise InputError(
            f"scores and is_focus must be [N] with N at least 1, got {found.shape} and {belongs.shape}; "
            "give one of each an image"
        )
    if not np.isfinite(found).all():
        raise InputError(f"scores must be finite, got {found[~np.isfinite(found)][0]}; give probabilities")
    if not belongs.any():
        raise InputError(
            f"is_focus must mark at least one image, got none of {len(belongs)}; "
            "the validation data hold no image of the class"
        )
    order = np.argsort(-found, kind="stable")
    ranked, hits = found[order], np.cumsum(belongs[order])
    # Equal scores fall on the same side: only the last of each run is a cut.
    cuts = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    best = int(cuts[np.argmax(2 * hits[cuts] / (cuts + 1 + hits[-1]))])
    lower = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    value = float((ranked[best] + lower) / 2)
    if value <= lower:  # the middle of neighbouring numbers is rounded, maybe to the lower one
        value = float(ranked[best])
    return Threshold(value, wilson_f1(int(hits[best]), int(hits[-1]), best + 1))


def apply_threshold(probabilities: Values, focus: int, threshold: float) -> Integers:
    """Predict class ``focus`` where its probability reaches the threshold, else the likeliest other class.

    Args:
        probabilities: [N, K], K >= 2.
        focus: index of the class, 0 to K-1.
        threshold: smallest probability that counts as the class.

    Returns:
        Predicted class indices [N].

    Raises:
        InputError: fewer than two classes, or an index out of range.

    Example:
        >>> apply_threshold([[0.3, 0.6, 0.1], [0.2, 0.3, 0.5]], focus=0, threshold=0.25).tolist()
        [0, 2]
    """
    found = as_numpy(probabilities).astype(np.float64)
    if found.ndim != 2 or found.shape[1] < 2:
        raise InputError(
            f"probabilities must be [N, K] with K at least 2, got shape {found.shape}; check them"
        )
    in_range("focus", focus, 0, found.shape[1] - 1)
    others = found.copy()
    others[:, focus] = -np.inf
    return np.where(found[:, focus] >= threshold, focus, others.argmax(1)).astype(np.int64)
