"""Which pairs of classes oppose beyond null and noise, each tested, corrected for their number."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tailgrad.interference.gram import Array
    from tailgrad.interference.result import Interference

FOLDS = 8
"""Of a class behind its interval, where it has as many examples."""
LEVEL = 0.05


class Opposed(NamedTuple):
    """How many of so many pairs oppose beyond null and noise once corrected for their number.

    Example:
        >>> Opposed(1, 45).pairs
        45
    """

    sure: int
    pairs: int


def opposed_p(low: Array, high: Array, folds: npt.NDArray[np.int64]) -> Array:
    """Two-sided p values of 90 % intervals around a negative excess, corrected by Holm; 1 for a positive one.

    Args:
        low: lower ends [n]; NaN, not tested, stays NaN and does not count.
        high: upper ends [n].
        folds: of the rarer class of each pair [n].

    Source: Student's t with one degree of freedom less than folds; Holm (1979).

    Example:
        >>> ends = np.array([-0.4, np.nan, -0.3]), np.array([-0.2, np.nan, 0.1])
        >>> opposed_p(*ends, np.array([8, 8, 8])).round(4)
        array([0.0015,    nan, 0.375 ])
    """
    from scipy import special  # takes a moment to import

    degrees = np.maximum(folds - 1, 1)
    half = np.maximum((high - low) / 2, 1e-12) / special.stdtrit(degrees, 0.95)
    p = np.minimum(1.0, 2 * special.stdtr(degrees, (low + high) / 2 / half))
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN comes last
    p[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return np.asarray(p)


def rare_and_frequent(counts: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """The rare and the frequent third of the classes, or None where counts do not set them apart.

    Example:
        >>> rare_and_frequent([9, 5, 1]), rare_and_frequent([5, 5, 5])
        (([2], [0]), None)
    """
    order = sorted(range(len(counts)), key=lambda k: -counts[k])
    size = (len(order) + 1) // 3
    frequent, rare = order[:size], order[len(order) - size :]
    apart = bool(size) and max(counts[k] for k in rare) < min(counts[k] for k in frequent)
    return (rare, frequent) if apart else None


def opposed(result: Interference, pairs: Sequence[tuple[int, int]]) -> Opposed:
    """How many of these pairs oppose beyond doubt; of a result with intervals.

    Example: see ``summarise``.
    """
    rows, columns = np.array(pairs).T
    ends = result.excess_interval
    assert ends is not None
    folds = np.minimum(FOLDS, np.minimum(result.counts[rows], result.counts[columns]))
    p = opposed_p(ends[0][rows, columns], ends[1][rows, columns], folds)
    return Opposed(int((p < LEVEL).sum()), int((~np.isnan(p)).sum()))


def all_opposed(result: Interference) -> Opposed:
    """``opposed`` of all pairs.

    Example: see ``summarise``.
    """
    return opposed(result, list(itertools.combinations(range(len(result.class_names)), 2)))


def rare_opposed(result: Interference) -> Opposed | None:
    """``opposed`` of the pairs of a rare with a frequent class, on which advice rests.

    Returns:
        None where no class is rare, or the head alone was measured: there classes compete by construction.

    Example: see ``summarise``.
    """
    counts = result.counts if result.train_counts is None else result.train_counts
    groups = rare_and_frequent(counts.tolist())
    if groups is None or result.primary == "head":
        return None
    return opposed(result, list(itertools.product(*groups)))


def surest(result: Interference) -> list[tuple[int, int]]:
    """All measured pairs, those surest to oppose beyond their null first.

    By the middle of the excess's interval over its half width, which is below -1 where the interval lies
    below 0; pairs without an interval follow by their excess.

    Example: see ``Interference.worst_pairs``.
    """
    rows, columns = np.triu_indices(len(result.conflict), 1)
    excess, ends = result.excess[rows, columns], result.excess_interval
    distance = np.full(len(excess), np.nan)
    if ends is not None:
        low, high = (end[rows, columns] for end in ends)
        distance = (low + high) / np.maximum(high - low, 1e-12)
    order = np.lexsort((excess, distance))  # NaN comes last in both
    return [(int(rows[p]), int(columns[p])) for p in order if not np.isnan(excess[p])]
