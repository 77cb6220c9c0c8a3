"""Bootstrap over test images crossed with seeds: a difference with both sources of chance in it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.evaluate.confusion import Floats, Integers, Values, as_numpy, class_indices
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.metrics import f1_from_margins, ratio

FEWEST_SEEDS = 10
"""Seeds from which on there is a bootstrap over seeds: over 3, one in four of its findings is false."""
CROSSED_METRICS = ("macro_f1", "accuracy", "balanced_accuracy")
# Bounds the memory of one block of resamples (numbers held at once, 8 bytes each).
_BLOCK = 4_000_000


def crossed_bootstrap(
    predicted_a: Values,
    predicted_b: Values,
    target: Values,
    *,
    num_classes: int,
    metric: str = "macro_f1",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean difference ``a - b`` over seeds, for test images and seeds that are both drawn by chance.

    Each resample draws the N images and, on its own, the S seeds with replacement; both methods and all
    seeds see the same images, and seed s of a stays with seed s of b. The interval is the percentile one
    with its ends moved out for there being few seeds: to Student's t with S - 1 degrees where seeds make all
    of the variance, and not at all where images do.

    Args:
        predicted_a: classes that method a predicts [S, N], S >= 10.
        predicted_b: the same of method b.
        target: true classes [N].
        num_classes: K.
        metric: ``macro_f1``, ``accuracy`` or ``balanced_accuracy``.
        level: coverage wanted, in (0, 1).
        resamples: R >= 1; 1000 and more for ends that keep still.
        seed: of the draw.

    Raises:
        InputError: fewer than 10 seeds, shapes that differ, an index outside [0, K-1], a parameter out of
            range.

    Source: Owen, "The pigeonhole bootstrap" (2007), which is a little too wide where images and seeds
    interact; Hesterberg, "What teachers should know about the bootstrap" (2015), for the ends, with
    Satterthwaite's degrees between the two.

    Example:
        >>> random = np.random.default_rng(0)
        >>> target = random.integers(0, 3, 200)
        >>> a, b = (np.where(random.random((10, 200)) < share, target, 0) for share in (0.9, 0.7))
        >>> print(crossed_bootstrap(a, b, target, num_classes=3, resamples=500))
        0.132 [0.096, 0.169]
    """
    in_range("level", level, 0, 1, exclusive=True)
    in_range("resamples", resamples, 1)
    one_of("metric", metric, CROSSED_METRICS)
    truth = class_indices(target, num_classes)
    both = np.stack(_predictions(predicted_a, predicted_b, num_classes, len(truth)))
    patterns = _Patterns.of(both, truth, num_classes)
    a, b = patterns.figures(patterns.counts[:, None], metric)[:, :, 0]
    random = np.random.default_rng(seed)
    draws = np.concatenate(list(_draws(patterns, metric, resamples, random)))
    value = float((a - b).mean())
    low, high = np.quantile(draws, _ends(level, a - b, float(draws.var())))
    how = f"bootstrap {level:.0%} over images crossed with {both.shape[1]} runs"
    return Estimate(value, min(float(low), value), max(float(high), value), how)


def _predictions(a: Values, b: Values, num_classes: int, images: int) -> list[Integers]:
    found: list[NDArray[Any]] = [as_numpy(a), as_numpy(b)]
    for name, values in zip(("predicted_a", "predicted_b"), found, strict=True):
        if values.ndim != 2 or values.shape != found[0].shape or values.shape[1] != images:
            raise InputError(
                f"{name} must be [S, N] with N={images} and S as for the other method, got {values.shape}; "
                "take the same seeds and test images"
            )
    seeds = len(found[0])
    if seeds < FEWEST_SEEDS:
        raise InputError(
            f"predicted_a must hold {FEWEST_SEEDS} seeds or more, got {seeds}: over fewer a bootstrap finds "
            "what is not there; run more, or take paired_difference"
        )
    flat = [class_indices(v.ravel(), num_classes, "predicted", v.size) for v in found]
    return [values.reshape(seeds, images) for values in flat]


def _ends(level: float, by_seed: Floats, variance: float) -> tuple[float, float]:
    """Shares of the draws that lie outside, for a variance of the draws of which some is that over seeds."""
    seeds = len(by_seed)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    # Drawing S seeds with replacement gives (S - 1) / S of their variance.
    whole = max(variance + of_seeds / seeds, of_seeds)
    if variance == 0 or of_seeds == 0:
        return (1 - level) / 2, (1 + level) / 2
    degrees = (seeds - 1) * (whole / of_seeds) ** 2
    t = float(special.stdtrit(degrees, (1 + level) / 2))
    outside = float(special.ndtr(-t * math.sqrt(whole / variance)))
    return outside, 1 - outside


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Images that have the same target and the same prediction in every run are interchangeable: M patterns.

    ``predicted`` and ``correct`` are sparse [2 S K, M]: which patterns a run gives to a class, and which of
    these rightly; ``target`` is [K, M].
    """

    counts: Integers
    target: Any
    predicted: Any
    correct: Any
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, both: Integers, truth: Integers, num_classes: int) -> "_Patterns":
        columns = np.concatenate([truth[None], both.reshape(-1, len(truth))])
        unique, counts = np.unique(columns, axis=1, return_counts=True)
        given = unique[1:]
        row = np.arange(len(given))[:, None] * num_classes + given
        predicted, correct = (
            _indicator(row, kept, len(given) * num_classes)
            for kept in (np.ones(given.shape, bool), given == unique[0])
        )
        target = _indicator(unique[:1], np.ones((1, len(counts)), bool), num_classes)
        return cls(counts, target, predicted, correct, (*both.shape[:2], num_classes))

    def figures(self, drawn: NDArray[Any], metric: str) -> Floats:
        """A metric [2, S, R] of counts drawn for each pattern [M, R]."""
        weights = drawn.astype(np.float64)
        correct = (self.correct @ weights).reshape(*self.shape, -1)
        if metric == "accuracy":
            return np.asarray(correct.sum(2) / weights.sum(0))
        support = self.target @ weights
        if metric == "balanced_accuracy":
            return np.asarray(ratio(correct, support).mean(2))
        predicted = (self.predicted @ weights).reshape(correct.shape)
        return np.asarray(f1_from_margins(correct, support, predicted).mean(2))


def _indicator(row: Integers, kept: NDArray[np.bool_], rows: int) -> Any:
    """Sparse [rows, M], 1 where pattern m has the row ``row[:, m]`` and is kept."""
    from scipy import sparse  # takes a tenth of a second

    column = np.broadcast_to(np.arange(row.shape[1]), row.shape)
    places = (row[kept], column[kept])
    return sparse.csr_array((np.ones(int(kept.sum())), places), shape=(rows, row.shape[1]))


def _draws(patterns: _Patterns, metric: str, resamples: int, random: np.random.Generator) -> Iterator[Floats]:
    _, seeds, _ = patterns.shape
    images, share = int(patterns.counts.sum()), patterns.counts / patterns.counts.sum()
    block = max(1, _BLOCK // max(len(share), math.prod(patterns.shape)))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        a, b = patterns.figures(random.multinomial(images, share, size=size).T, metric)
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=size).T / seeds
        yield np.asarray(((a - b) * weights).sum(0))
