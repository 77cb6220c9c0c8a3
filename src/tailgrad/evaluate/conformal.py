"""Conformal prediction sets: for every image the classes that cannot be ruled out, with coverage by class."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.evaluate.clopper_pearson import clopper_pearson
from tailgrad.evaluate.confusion import Floats, Integers
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.groups import thirds
from tailgrad.evaluate.intervals import student_t

Way = Literal["marginal", "thirds", "class"]
WAYS: tuple[Way, ...] = ("marginal", "thirds", "class")
Score = Literal["hinge", "cumulative"]
SCORES: tuple[Score, ...] = ("hinge", "cumulative")
Sets = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Conformal:
    """How prediction sets of one kind do on test images.

    Args:
        way: ``"marginal"`` ranks a candidate among all calibration images, ``"thirds"`` among those of its
            third of the classes by training count, ``"class"`` among those of its own class.
        calibration: calibration images that a candidate of each class is ranked among [K].
        always: whether each class is in every set, for want of calibration images [K].
        coverage: share of all test images whose class is in their set.
        by_class: the same over the images of each class [K], exact intervals.
        groups: the same over head, middle and tail.
        size: mean number of classes in a set.
        size_by_class: mean number over the images of each class [K]; None without one.
        empty: share of sets that hold nothing.
        single: share of sets that hold one class.

    Example: see ``conformal``.
    """

    way: Way
    calibration: tuple[int, ...]
    always: tuple[bool, ...]
    coverage: Estimate
    by_class: tuple[Estimate, ...]
    groups: dict[str, Estimate]
    size: Estimate
    size_by_class: tuple[float | None, ...]
    empty: float
    single: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


def images_needed(alpha: float) -> int:
    """Calibration images from which on a class can be left out of a set: ``1 / (n + 1) <= alpha``.

    Example:
        >>> images_needed(0.1), images_needed(0.05)
        (9, 19)
    """
    in_range("alpha", alpha, 0, 1, exclusive=True)
    return max(1, int(np.ceil(round(1 / alpha - 1, 9))))


def cumulative(probabilities: Floats) -> Floats:
    """Probability of all classes at least as likely, itself included [N, K]: the score of adaptive sets.

    Args:
        probabilities: [N, K].

    Source: Romano, Sesia and Candès, "Classification with valid and adaptive coverage" (2020), without their
        randomisation: sets are a little larger and never empty.

    Example:
        >>> cumulative(np.array([[0.5, 0.2, 0.3]])).round(2).tolist()
        [[0.5, 1.0, 0.8]]
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, 1)
    total = np.cumsum(ranked, axis=1)
    # Classes of equal probability come in together.
    for column in range(total.shape[1] - 2, -1, -1):
        same = ranked[:, column] == ranked[:, column + 1]
        total[same, column] = total[same, column + 1]
    found = np.empty_like(total)
    np.put_along_axis(found, order, np.minimum(total, 1.0), 1)
    return found


def prediction_sets(
    calibration: tuple[Floats, Integers],
    probabilities: Floats,
    category: Sequence[int],
    alpha: float = 0.1,
    score: Score = "hinge",
) -> Sets:
    """Which classes are in the set of each image [N, K].

    A class is in the set where its p value exceeds alpha: ``(1 + #{i: s_i >= s}) / (n + 1)`` over the n
    calibration images of its category. Of exchangeable images each category is covered with probability at
    least ``1 - alpha``. The p values are those of `crepes`.

    Args:
        calibration: probabilities [n, K] and class indices [n] of images that trained nothing.
        probabilities: of the images to answer [N, K].
        category: of each class [K]; one for all is marginal, one each is class-conditional.
        alpha: share of misses allowed, in (0, 1).
        score: ``"hinge"`` is ``1 - p``, the smallest sets; ``"cumulative"`` adapts the size to the image.

    Raises:
        InputError: alpha outside (0, 1), an unknown score, or `crepes` is not installed.

    Source: Vovk, Gammerman and Shafer, "Algorithmic learning in a random world" (2005), Mondrian conformal
        predictors; hinge sets are Sadinle, Lei and Wasserman (2019).

    Example:
        >>> seen = np.array([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]]), np.array([0, 0, 1])
        >>> prediction_sets(seen, np.array([[0.9, 0.1], [0.6, 0.4]]), [0, 0], alpha=0.5).tolist()
        [[True, False], [False, False]]
    """
    return _scores(probabilities, score) <= limits(calibration, category, alpha, score)


def limits(
    calibration: tuple[Floats, Integers], category: Sequence[int], alpha: float = 0.1, score: Score = "hinge"
) -> Floats:
    """The score up to which each class comes into a set [K]; infinite where it always does.

    Args:
        calibration: as for `prediction_sets`.
        category: of each class [K].
        alpha: share of misses allowed, in (0, 1).
        score: as for `prediction_sets`.

    Raises:
        InputError: as `prediction_sets`.

    Example:
        >>> seen = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]]), np.array([0, 0, 1])
        >>> limits(seen, [0, 1], alpha=0.4).tolist()
        [0.5, inf]
    """
    in_range("alpha", alpha, 0, 1, exclusive=True)
    seen, own = calibration
    known = _scores(seen, score)[np.arange(len(own)), own]
    of_class = np.asarray(category)
    by_category = {one: _limit(known[of_class[own] == one], alpha) for one in np.unique(of_class).tolist()}
    return np.array([by_category[one] for one in of_class.tolist()])


def _scores(probabilities: Floats, score: Score) -> Floats:
    if one_of("score", score, SCORES) == "cumulative":
        return cumulative(probabilities)
    found: Floats = _crepes("crepes.extras").hinge(probabilities)
    return found


def _limit(known: Floats, alpha: float) -> float:
    """The largest score whose p value exceeds alpha.

    p values change at the calibration scores alone, so they are asked for there and beyond the last one and
    not for every image and class.
    """
    candidates = np.append(np.unique(known), np.inf)
    p = _crepes().ConformalClassifier().fit(known).predict_p(candidates, smoothing=False)
    kept = candidates[p > alpha]
    return float(kept[-1]) if len(kept) else -np.inf


def conformal(
    calibration: tuple[Floats, Integers],
    test: tuple[Floats, Integers],
    counts: Sequence[int],
    way: Way,
    alpha: float = 0.1,
    score: Score = "hinge",
) -> Conformal:
    """Calibrate sets, and say how often they hold the class and how large they are.

    Args:
        calibration: probabilities [n, K] and class indices [n].
        test: probabilities [N, K] and class indices [N].
        counts: training images of each class [K].
        way: what a candidate is ranked among.
        alpha: share of misses allowed, in (0, 1).
        score: as for `prediction_sets`.

    Raises:
        InputError: as `prediction_sets`; alpha so small that every set would hold every class; no calibration
            image.

    Example:
        >>> p, y = np.array([[0.9, 0.1], [0.2, 0.8]] * 10), np.array([0, 1] * 10)
        >>> found = conformal((p, y), (p, y), (10, 10), "class", alpha=0.1)
        >>> found.coverage.value, found.size.value, found.always
        (1.0, 1.0, (False, False))
    """
    one_of("way", way, WAYS)
    category = categories(way, counts)
    own = calibration[1]
    ranked = np.array([int((category[own] == one).sum()) for one in category])
    needed = images_needed(alpha)
    if len(own) < needed:
        least = f"{1 / (1 + len(own)):.2g} with {len(own)} validation images"
        raise InputError(
            f"alpha must be at least {least}, got {alpha}: every set would hold every class; take a larger "
            "alpha or more validation images"
        )
    kept = limits(calibration, category.tolist(), alpha, score)
    sets = _scores(test[0], score) <= kept
    return _judged(way, sets, test[1], ranked, np.isinf(kept) & (kept > 0), counts)


def categories(way: Way, counts: Sequence[int]) -> Integers:
    """The Mondrian category of each class [K].

    Example:
        >>> categories("thirds", (5, 50, 500)).tolist(), categories("class", (5, 50)).tolist()
        ([2, 1, 0], [0, 1])
    """
    if way == "class":
        return np.arange(len(counts))
    found = np.zeros(len(counts), dtype=np.int64)
    if way == "thirds":
        for place, classes in enumerate(thirds(counts).values()):
            found[list(classes)] = place
    return found


def _judged(
    way: Way, sets: Sets, target: Integers, ranked: Integers, always: Sets, counts: Sequence[int]
) -> Conformal:
    hit, size = sets[np.arange(len(target)), target], sets.sum(1)

    def covered(own: NDArray[np.bool_]) -> Estimate:
        return clopper_pearson(int(hit[own].sum()), int(own.sum()))

    of_class = [target == k for k in range(len(counts))]
    return Conformal(
        way,
        tuple(ranked.tolist()),
        tuple(always.tolist()),
        covered(np.ones_like(hit)),
        tuple(map(covered, of_class)),
        {name: covered(np.isin(target, classes)) for name, classes in thirds(counts).items()},
        student_t(size.tolist(), unit="image"),
        tuple(float(size[own].mean()) if own.any() else None for own in of_class),
        float((size == 0).mean()),
        float((size == 1).mean()),
    )


def _crepes(part: str = "crepes") -> Any:
    try:
        return import_module(part)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "crepes":
            raise
        raise InputError(
            "conformal sets must have the package crepes, got none installed; run pip install "
            "'tailgrad[conformal]'"
        ) from error
