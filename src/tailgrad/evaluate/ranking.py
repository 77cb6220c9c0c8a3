"""How well scores rank the images that have a label above those that have not: average precision and AUC."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from tailgrad.checks import InputError
from tailgrad.evaluate.confusion import Floats, Values, as_numpy
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import wilson


class Ranked(NamedTuple):
    """Average precision and AUC of the same scores, one value a resample.

    Example:
        >>> Ranked(np.ones(2), np.ones(2)).auc.shape
        (2,)
    """

    average_precision: Floats
    auc: Floats


def average_precision(scores: Values, positive: Values) -> float:
    """``sum_t (R_t - R_{t-1}) P_t`` over the distinct scores t from high to low; NaN without positives.

    Equal scores count as one threshold, so that no order among them is favoured.

    Args:
        scores: [N], finite.
        positive: whether each image has the label [N], 0 or 1.

    Raises:
        InputError: empty, of different lengths, or a score that is not finite.

    Example:
        >>> round(average_precision([0.9, 0.8, 0.4, 0.2], [1, 0, 1, 0]), 4)
        0.8333
    """
    found, has = _pair(scores, positive)
    return float(ranked(found, has, np.ones((1, len(found)))).average_precision[0])


def auc(scores: Values, positive: Values) -> float:
    """``P(score of a positive > score of a negative)``, ties half; NaN without positives or negatives.

    Args:
        scores: [N], finite.
        positive: whether each image has the label [N], 0 or 1.

    Raises:
        InputError: empty, of different lengths, or a score that is not finite.

    Example:
        >>> auc([0.9, 0.8, 0.4, 0.4], [1, 0, 1, 0])
        0.625
    """
    found, has = _pair(scores, positive)
    return float(ranked(found, has, np.ones((1, len(found)))).auc[0])


def ranked(scores: Floats, positive: Floats, weights: Floats) -> Ranked:
    """Both figures with every image counted ``weights`` times, one row of weights a resample.

    Args:
        scores: [N].
        positive: [N] of 0 and 1.
        weights: [R, N], at least 0.

    Example:
        >>> ranked(np.array([2.0, 1.0]), np.array([1.0, 0.0]), np.array([[1.0, 3.0]])).auc.tolist()
        [1.0]
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    drawn = weights[:, order]
    hits, misses = drawn * positive[order], drawn * (1 - positive[order])
    if len(starts) < len(order):  # equal scores count as one
        hits, misses = (np.add.reduceat(part, starts, axis=1) for part in (hits, misses))
    above = np.cumsum(hits, 1)
    seen = above + np.cumsum(misses, 1)
    total, others = hits.sum(1), misses.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(seen > 0, above / seen, 0.0)
        area = (misses * (above - hits / 2)).sum(1) / (total * others)
        return Ranked((hits * precision).sum(1) / total, area)


def auc_interval(scores: Values, positive: Values, level: float = 0.95) -> Estimate | None:
    """AUC with DeLong's interval on the logit scale; None without positives or without negatives.

    Where DeLong's variance is 0 (all pairs in order, or a single positive) the interval is Wilson's for as
    many trials as the smaller of the two sides has images: wide, and never a point.

    Args:
        scores: [N], finite.
        positive: whether each image has the label [N], 0 or 1.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: as ``auc``.

    Source: DeLong, DeLong and Clarke-Pearson 1988; logit scale as in Pepe 2003. Hanley and McNeil's formula
    supposes exponential scores and is not used.

    Example:
        >>> print(auc_interval([3, 2, 2, 1, 0], [1, 1, 0, 0, 0]))
        0.917 [0.348, 0.996]
    """
    found, has = _pair(scores, positive)
    above, below = found[has > 0], found[has == 0]
    if not len(above) or not len(below):
        return None
    value, spread = _delong(above, below)
    if not 0 < value < 1 or spread <= 0:
        trials = min(len(above), len(below))
        wide = wilson(value * trials, trials, level)
        return Estimate(value, wide.low, wide.high, f"Wilson {level:.0%} of the smaller side")
    half = NormalDist().inv_cdf((1 + level) / 2) * spread / (value * (1 - value))
    centre = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
    return Estimate(value, low, high, f"DeLong {level:.0%} on the logit scale")


def _delong(above: Floats, below: Floats) -> tuple[float, float]:
    """AUC and its standard error from the placements of each side among the other."""
    m, n = len(above), len(below)
    ranks = _ranks(np.concatenate([above, below]))
    of_positives = (ranks[:m] - _ranks(above)) / n
    of_negatives = 1 - (ranks[m:] - _ranks(below)) / m
    if min(m, n) < 2:
        return float(of_positives.mean()), 0.0
    variance = of_positives.var(ddof=1) / m + of_negatives.var(ddof=1) / n
    return float(of_positives.mean()), math.sqrt(float(variance))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values at their mean rank; SciPy's would cost a second of loading."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return found


def _pair(scores: Values, positive: Values) -> tuple[Floats, Floats]:
    found, has = as_numpy(scores).astype(np.float64), as_numpy(positive).astype(np.float64)
    if found.ndim != 1 or found.shape != has.shape or found.size == 0:
        raise InputError(
            f"scores and positive must be [N] with N at least 1, got {found.shape} and {has.shape}; give one "
            "of each an image"
        )
    if not np.isfinite(found).all():
        raise InputError(f"scores must be finite, got {found[~np.isfinite(found)][0]}; check the model")
    return found, has
