"""Reliability by class: calibration, False Head Rate, abstention and conformal sets of one model."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.evaluate.abstention import Abstention, abstention
from tailgrad.evaluate.calibration import expected_calibration_error
from tailgrad.evaluate.class_calibration import ClassCalibration, class_calibration, confidence_gap
from tailgrad.evaluate.conformal import SCORES, WAYS, Conformal, Score, conformal
from tailgrad.evaluate.confusion import Floats, Integers, Values, class_indices
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.false_head import FalseHead, false_head_rate
from tailgrad.evaluate.groups import thirds
from tailgrad.evaluate.reliability_text import as_text
from tailgrad.evaluate.softmax import softmax
from tailgrad.types import ClassInfo


@dataclass(frozen=True, slots=True)
class ReliabilityOptions:
    """What can be chosen.

    Args:
        alpha: share of misses that conformal sets may have, in (0, 1).
        score: ``"hinge"`` (small sets) or ``"cumulative"`` (sets that adapt to the image).
        answered: share of validation images to answer where the model may abstain, in (0, 1].

    Example:
        >>> ReliabilityOptions().alpha
        0.1
    """

    alpha: float = 0.1
    score: Score = "hinge"
    answered: float = 0.8


@dataclass(frozen=True, slots=True, repr=False)
class Reliability:
    """How far the predictions of a model can be relied on, class by class; ``print`` gives tables.

    Args:
        classes: names and training counts.
        images: number of validation and of test images.
        options: what was chosen.
        ece: calibration error of the predicted class over all test images, 15 bins.
        gap: mean confidence less accuracy.
        calibration: one entry a class.
        group_gaps: mean confidence less the share right over the images of head, middle and tail.
        false_head: confusions between head and tail.
        abstention: what becomes of the classes where the model may abstain.
        conformal: prediction sets, one entry a way of ranking; empty where they could not be made.
        no_sets: why they could not, or nothing.

    Example: see ``evaluate_reliability``.
    """

    classes: ClassInfo
    images: tuple[int, int]
    options: ReliabilityOptions
    ece: float
    gap: Estimate
    calibration: tuple[ClassCalibration, ...]
    group_gaps: dict[str, Estimate | None]
    false_head: FalseHead
    abstention: Abstention
    conformal: tuple[Conformal, ...]
    no_sets: str = ""

    def __repr__(self) -> str:
        return (
            f"Reliability({self.classes.num_classes} classes, {self.images[1]} images, ECE {self.ece:.3f}, "
            f"False Head Rate {self.false_head.rate})"
        )

    def __str__(self) -> str:
        return as_text(self)

    def way(self, name: str) -> Conformal | None:
        """The sets of one way of ranking; None where they could not be made."""
        return next((found for found in self.conformal if found.way == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


def evaluate_reliability(
    val: tuple[Values, Values],
    test: tuple[Values, Values],
    classes: ClassInfo,
    options: ReliabilityOptions | None = None,
) -> Reliability:
    """Everything about reliability that logits can tell.

    The threshold for abstaining and the conformal sets are made on validation images, all figures on test
    images. Where sets cannot be made (no `crepes`, too few validation images), the rest is there and
    ``no_sets`` says why.

    Args:
        val: logits [n, K] and class indices [n] of images that trained nothing.
        test: logits [N, K] and class indices [N].
        classes: names and training counts, K at least 2.
        options: None for the defaults.

    Raises:
        InputError: bad shapes, lengths, indices or logits, a single class, an option out of range.

    Example:
        >>> z = [[2.0, 0.0], [0.0, 2.0]] * 10
        >>> evaluate_reliability((z, [0, 1] * 10), (z, [0, 1] * 10), ClassInfo(("a", "b"), (9, 3)))
        Reliability(2 classes, 20 images, ECE 0.119, False Head Rate 0.000 [0.000, 0.278])
    """
    chosen = options or ReliabilityOptions()
    in_range("alpha", chosen.alpha, 0, 1, exclusive=True)
    one_of("score", chosen.score, SCORES)
    known, seen = (_checked(*part, classes.num_classes) for part in (val, test))
    p, target = seen
    groups = thirds(classes.counts)
    confidence, right = p.max(1), p.argmax(1) == target

    def gap(own: Any) -> Estimate | None:
        return confidence_gap(confidence[own], right[own])

    sets, why = _sets(known, seen, classes, chosen)
    return Reliability(
        classes,
        (len(known[0]), len(p)),
        chosen,
        expected_calibration_error(confidence, right),
        gap(slice(None)) or Estimate(0.0),
        class_calibration(p, target),
        {name: gap(np.isin(target, found)) for name, found in groups.items()},
        false_head_rate(p.argmax(1), target, classes.counts),
        abstention(p, target, groups, known[0].max(1), chosen.answered),
        sets,
        why,
    )


def _checked(logits: Values, target: Values, size: int) -> tuple[Floats, Integers]:
    p = softmax(logits, size)
    return p, class_indices(target, size, length=len(p))


def _sets(
    known: tuple[Floats, Integers],
    seen: tuple[Floats, Integers],
    classes: ClassInfo,
    chosen: ReliabilityOptions,
) -> tuple[tuple[Conformal, ...], str]:
    try:
        found = [conformal(known, seen, classes.counts, way, chosen.alpha, chosen.score) for way in WAYS]
    except InputError as error:  # no crepes, or too few images
        return (), str(error)
    return tuple(found), ""
