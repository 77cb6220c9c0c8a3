"""Bootstrap over the test images: macro figures whose classes depend on one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.cells import Confusion
from tailgrad.evaluate.confusion import Floats
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import combined
from tailgrad.evaluate.metrics import Counts, f1_from_margins, macro_f1, ratio

# Bounds the memory of one block of resamples (counts held at once, 8 bytes each).
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Resamples:
    """Figures of R bootstrap resamples of the test images.

    Args:
        f1: [R, K].
        recall: [R, K].

    Example:
        >>> Resamples(np.ones((5, 2)), np.ones((5, 2))).f1.shape
        (5, 2)
    """

    f1: Floats
    recall: Floats


def bootstrap(confusion: Counts | Confusion, *, seed: int = 0, resamples: int = 1000) -> Resamples:
    """Draw the N test images with replacement, R times, and recompute F1 and recall of every class.

    Images in one cell of the confusion matrix are interchangeable, so each resample is one multinomial
    draw over the non-empty cells. A class that a resample misses counts as 0, as it does in the figure.

    Args:
        confusion: counts [K, K], or their non-empty cells.
        seed: of the draw.
        resamples: R >= 1.

    Raises:
        InputError: fewer than one resample, or no image.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 6.

    Example:
        >>> draws = bootstrap(np.array([[8, 2], [1, 4]]), resamples=50)
        >>> draws.f1.shape, bool((draws.f1.std(0) > 0).all())
        ((50, 2), True)
    """
    in_range("resamples", resamples, 1)
    cells = confusion if isinstance(confusion, Confusion) else Confusion.of(confusion)
    random = np.random.default_rng(seed)
    if not len(cells.counts):
        raise InputError("confusion must hold at least 1 image, got none; give counts of test images")
    f1, recalls = np.zeros((2, resamples, cells.num_classes))
    block = max(1, _BLOCK // len(cells.counts))
    for start in range(0, resamples, block):
        part = slice(start, min(start + block, resamples))
        drawn = random.multinomial(cells.images, cells.counts / cells.images, size=part.stop - start)
        correct, support, predicted = _margins(cells, drawn)
        f1[part] = f1_from_margins(correct, support, predicted)
        recalls[part] = ratio(correct, support)
    return Resamples(f1, recalls)


def _margins(cells: Confusion, drawn: Counts) -> tuple[Counts, Counts, Counts]:
    """Correct images, images and predictions of each class [R, K], of counts drawn for each cell [R, M]."""
    right = np.flatnonzero(cells.targets == cells.predictions)
    correct = np.zeros((len(drawn), cells.num_classes), np.int64)
    correct[:, cells.targets[right]] = drawn[:, right]
    by_prediction = np.argsort(cells.predictions, kind="stable")
    support = _summed(drawn, cells.targets, cells.num_classes)
    return (
        correct,
        support,
        _summed(drawn[:, by_prediction], cells.predictions[by_prediction], cells.num_classes),
    )


def _summed(drawn: Counts, classes: Counts, num_classes: int) -> Counts:
    """Sums over cells of one class [R, K], the cells sorted by class."""
    found = np.zeros((len(drawn), num_classes), np.int64)
    present, starts = np.unique(classes, return_index=True)
    found[:, present] = np.add.reduceat(drawn, starts, axis=1)
    return found


def percentile(value: float, draws: Floats, level: float = 0.95) -> Estimate:
    """``value`` with the percentile interval of its bootstrap draws, widened if need be to hold it.

    Example:
        >>> print(percentile(0.5, np.linspace(0, 1, 101), 0.9))
        0.500 [0.050, 0.950]
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(
        value, min(float(low), value), max(float(high), value), f"bootstrap {level:.0%} over images"
    )


def debiased_percentile(value: float, draws: Floats, level: float = 0.95) -> Estimate:
    """As `percentile`, for figures that few images push up, as they do average precision.

    Resamples hold copies of images, which stand together in a ranking, so that their figures lie above
    ``value`` by ``b`` on average; by as much ``value`` lies above the figure of endless images. The ends are
    those of the draws moved by -b and by -2b, the wider at each end, within 0 and 1. Over eight labels, where
    chance averages out and b does not, plain percentiles held the mean average precision of endless images
    in 0.51 to 0.86 of simulated test sets of 150 and 400 images, these in 0.88 to 0.92 (nominal 0.95).

    Example:
        >>> print(debiased_percentile(0.5, np.linspace(0.1, 1.1, 101), 0.9))
        0.500 [0.000, 0.950]
        >>> print(debiased_percentile(0.6, np.linspace(0.4, 0.8, 101), 0.9))
        0.600 [0.420, 0.780]
    """
    lift = float(draws.mean()) - value
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    moved = np.clip([low - lift, low - 2 * lift, high - lift, high - 2 * lift, value], 0, 1)
    how = f"bootstrap {level:.0%} over images, its bias removed"
    return Estimate(value, float(moved.min()), float(moved.max()), how)


def mean_f1(parts: Sequence[Estimate], draws: Floats | None, level: float = 0.95) -> Estimate:
    """Mean F1 of some classes; its interval is the wider, at each end, of bootstrap and combined intervals.

    The bootstrap sees how classes depend on one another, yet is too narrow with a class of a handful of
    images (simulated coverage 0.76 at nominal 0.95 with supports 200, 50, 10, 4) and collapses to a point
    without any error. `combined` has neither fault and misses the dependence (0.91). Together: 0.94 and up.

    Args:
        parts: F1 of each class, with interval.
        draws: F1 of these classes in each resample [R, len(parts)], or None for no interval.
        level: coverage wanted, in (0, 1).

    Example:
        >>> print(mean_f1([Estimate(1.0, 0.72, 1.0, "Wilson")], np.ones((10, 1))))
        1.000 [0.720, 1.000]
    """
    value = sum(part.value for part in parts) / len(parts)
    if draws is None:
        return Estimate(value)
    apart = combined(parts)
    values = np.array([value, apart.low, apart.high])
    low, high = np.quantile(draws.mean(1), [(1 - level) / 2, (1 + level) / 2])
    how = f"bootstrap {level:.0%} over images, or the classes' combined where wider"
    return Estimate(value, float(min(low, values.min())), float(max(high, values.max())), how)


def bootstrap_macro_f1(
    confusion: Counts, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Estimate:
    """Macro-F1 with the plain percentile bootstrap interval over the test images.

    `evaluate` reports the wider interval of `mean_f1`, which does not collapse with few images.

    Args:
        confusion: counts [K, K].
        seed: of the draw.
        resamples: number of resamples, at least 1.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> print(bootstrap_macro_f1(np.array([[80, 20], [10, 40]])))
        0.785 [0.712, 0.850]
    """
    in_range("level", level, 0, 1, exclusive=True)
    draws = bootstrap(confusion, seed=seed, resamples=resamples)
    return percentile(macro_f1(confusion), draws.f1.mean(1), level)
