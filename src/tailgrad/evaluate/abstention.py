"""What becomes of each class when the least sure predictions are withheld."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.confusion import Floats, Integers
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import wilson

Flags = NDArray[np.bool_]
Rows = tuple[tuple[float | None, ...], ...]
GRID = tuple(round(1 - 0.05 * i, 2) for i in range(20))
"""Shares of all test images that are answered, at which curves are read."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A set of images under one threshold of confidence.

    Args:
        images: in the set.
        before: share right without abstaining.
        answered: share whose confidence reaches the threshold.
        after: share right among these; None where none is answered.

    Example: see ``answered_at``.
    """

    images: int
    before: Estimate
    answered: Estimate
    after: Estimate | None


@dataclass(frozen=True, slots=True)
class Abstention:
    """Selective prediction by the largest probability.

    Args:
        threshold: at which the wanted share of validation images is answered.
        wanted: that share.
        overall: all test images under it.
        classes: the test images of each class under it, in class order.
        groups: those of head, middle and tail under it.
        aurc: area under the risk-coverage curve over all test images.
        class_aurc: the same over the images of each class; None without one.
        grid: shares of all test images answered, from all downwards.
        answered: share of the images of each class that is answered there [G, K]; None without an image.
        risk: share wrong among these [G, K]; None where none is answered.

    Example: see ``abstention``.
    """

    threshold: float
    wanted: float
    overall: Answered
    classes: tuple[Answered, ...]
    groups: dict[str, Answered]
    aurc: float
    class_aurc: tuple[float | None, ...]
    grid: tuple[float, ...]
    answered: Rows
    risk: Rows

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


def area_under_risk_coverage(confidence: Floats, right: Flags) -> float:
    """Mean over images of the share wrong among the images that are at least as sure.

    ``AURC = (1/N) sum_i mean(wrong_j : confidence_j >= confidence_i)``: 0 without an error, the error rate
    where confidence says nothing. Images of equal confidence are answered together. It has no interval: its
    terms share their images.

    Args:
        confidence: [N], finite, N at least 1.
        right: whether each was predicted right [N].

    Raises:
        InputError: lengths that differ, or no image.

    Source: Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation" (2019), for the area.

    Example:
        >>> area_under_risk_coverage(np.array([0.9, 0.8, 0.6]), np.array([True, False, True])).__round__(4)
        0.2778
    """
    if confidence.ndim != 1 or confidence.shape != right.shape or confidence.size == 0:
        raise InputError(
            f"confidence and right must be [N], N at least 1, got {confidence.shape} and {right.shape}; "
            "give one of each an image"
        )
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    wrong = np.cumsum(~right[order].astype(np.bool_))
    last = np.searchsorted(-ranked, -ranked, side="right") - 1
    return float((wrong[last] / (last + 1)).mean())


def threshold_for(confidence: Floats, share: float) -> float:
    """The largest confidence that at least ``share`` of the images reach.

    Args:
        confidence: of the images to choose on [N], N at least 1.
        share: in (0, 1].

    Raises:
        InputError: a share outside (0, 1], or no image.

    Example:
        >>> threshold_for(np.array([0.9, 0.8, 0.6, 0.5]), 0.5)
        0.8
    """
    if not confidence.size:
        raise InputError("confidence must be of at least 1 image, got none; give validation images")
    if not in_range("answered", share, 0, 1):
        raise InputError(f"answered must be in (0, 1], got {share}; choose a share of the images")
    # Rounding may carry share * N just past a whole number.
    kept = max(1, math.ceil(round(share * len(confidence), 9)))
    return float(np.sort(confidence)[::-1][kept - 1])


def answered_at(threshold: float, confidence: Floats, right: Flags, level: float = 0.95) -> Answered:
    """Images under one threshold, shares with Wilson intervals.

    Args:
        threshold: confidence from which on an image is answered.
        confidence: [N].
        right: whether each was predicted right [N].
        level: coverage wanted, in (0, 1).

    Example:
        >>> found = answered_at(0.7, np.array([0.9, 0.8, 0.6]), np.array([True, False, True]))
        >>> found.answered.value.__round__(2), found.after.value
        (0.67, 0.5)
    """
    kept = confidence >= threshold
    total, answered = len(right), int(kept.sum())
    return Answered(
        total,
        wilson(int(right.sum()), total, level),
        wilson(answered, total, level),
        wilson(int(right[kept].sum()), answered, level) if answered else None,
    )


def abstention(
    probabilities: Floats,
    target: Integers,
    groups: dict[str, tuple[int, ...]],
    val_confidence: Floats,
    wanted: float = 0.8,
    level: float = 0.95,
) -> Abstention:
    """Who is answered, and how often rightly, when the least sure images are withheld.

    The threshold comes from validation images. The curves are read on the test images and choose nothing.

    Args:
        probabilities: of test images [N, K].
        target: their class indices [N].
        groups: class indices by name of the group.
        val_confidence: largest probability of each validation image.
        wanted: share of validation images to answer, in (0, 1].
        level: coverage of the Wilson intervals, in (0, 1).

    Raises:
        InputError: a share or a level outside its range, or no validation image.

    Source: for curves by group Jones et al., "Selective classification can magnify disparities across groups"
        (2021).

    Example:
        >>> p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.55, 0.45]])
        >>> sets = {"head": (0,), "tail": (1,)}
        >>> found = abstention(p, np.array([0, 0, 1, 1]), sets, np.array([0.9, 0.7]), wanted=0.5)
        >>> found.threshold, [found.groups[name].answered.value for name in sets]
        (0.9, [0.5, 0.0])
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == target
    threshold = threshold_for(val_confidence, wanted)

    def under(own: Flags) -> Answered:
        return answered_at(threshold, confidence[own], right[own], level)

    of_class = [target == k for k in range(probabilities.shape[1])]
    cuts = [threshold_for(confidence, share) for share in GRID]
    return Abstention(
        threshold,
        wanted,
        under(np.ones_like(right)),
        tuple(map(under, of_class)),
        {name: under(np.isin(target, classes)) for name, classes in groups.items()},
        area_under_risk_coverage(confidence, right),
        tuple(
            area_under_risk_coverage(confidence[own], right[own]) if own.any() else None for own in of_class
        ),
        GRID,
        *_curves(cuts, confidence, right, of_class),
    )


def _curves(
    cuts: Sequence[float], confidence: Floats, right: Flags, of_class: Sequence[Flags]
) -> tuple[Rows, Rows]:
    answered, risk = [], []
    for cut in cuts:
        kept = confidence >= cut
        told = [
            (int((kept & own).sum()), int((kept & own & ~right).sum()), int(own.sum())) for own in of_class
        ]
        answered.append(tuple(some / images if images else None for some, _, images in told))
        risk.append(tuple(wrong / some if some else None for some, wrong, _ in told))
    return tuple(answered), tuple(risk)
