"""Several methods over many seeds or data sets: mean ranks and critical differences."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.confusion import Floats
from tailgrad.evaluate.paired import SMALLEST_RANKED, holm, wilcoxon
from tailgrad.evaluate.steps import in_steps

_FEWEST_METHODS = 3


@dataclass(frozen=True, slots=True)
class Ranks:
    """Mean ranks of several methods, and which of them cannot be told apart.

    Args:
        mean_ranks: mean rank of each method, 1 the best, best first.
        n: number of seeds or data sets.
        friedman_p: p value of Friedman's test that all methods are equally good, or None.
        critical_difference: difference of mean ranks that Nemenyi's test asks for, or None.
        cliques: groups of methods, as many as possible each, that differ by less; best first.
        pairs: Wilcoxon's test of every two methods: ``a``, ``b``, ``p``, ``p_holm`` (None where untested).
        reason: why there is no test, empty where there is one.

    Example:
        >>> Ranks({"a": 1.0, "b": 2.0}, 4, None, None, (), (), "too few").to_dict()["n"]
        4
    """

    mean_ranks: dict[str, float]
    n: int
    friedman_p: float | None
    critical_difference: float | None
    cliques: tuple[tuple[str, ...], ...]
    pairs: tuple[dict[str, Any], ...]
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)


def critical_difference(values: Mapping[str, Sequence[float]], *, level: float = 0.95) -> Ranks:
    """Friedman's test over methods, Nemenyi's critical difference, and Wilcoxon's test of every pair.

    Each seed or data set ranks the k methods, ties sharing their mean rank; two methods differ where their
    mean ranks are ``q sqrt(k (k + 1) / 6n)`` apart, q the quantile of the studentised range over sqrt(2).
    Where Friedman's test finds nothing, all methods are one clique. Both tests take the n for independent:
    overlapping resamples of one data set are not, and give p values that are too small.

    Args:
        values: figures of each method, one a seed or data set, in the same order; higher is better.
        level: 1 minus the false positives allowed, in (0, 1).

    Returns:
        Ranks; without tests, and with a ``reason``, below three methods or six seeds or data sets.

    Raises:
        InputError: lengths that differ, no value, a value that is not finite, a level out of range.

    Source: Demsar, "Statistical comparisons of classifiers over multiple data sets" (2006); the pairs after
    Benavoli, Corani and Mangili, "Should we really use post-hoc tests based on mean-ranks?" (2016).

    Example:
        >>> found = critical_difference({"a": [3, 3, 3, 3, 3, 3, 2], "b": [2, 2, 2, 2, 1, 1, 3],
        ...                              "c": [1, 1, 1, 1, 2, 2, 1]})
        >>> round(found.critical_difference, 2), found.cliques
        (1.25, (('a', 'b'), ('b', 'c')))
    """
    table = _table(values)
    in_range("level", level, 0, 1, exclusive=True)
    table = in_steps(table, float(np.abs(table).max()))
    methods, n = table.shape
    ranks = _mean_ranks(list(values), table)
    reason = _too_few(methods, n)
    if reason:
        return Ranks(ranks, n, None, None, (), (), reason)
    friedman, width = _friedman(table), _nemenyi(methods, n, level)
    cliques = _cliques(ranks, width) if friedman < 1 - level else (tuple(ranks),)
    return Ranks(ranks, n, friedman, width, cliques, _pairs(values))


def _table(values: Mapping[str, Sequence[float]]) -> Floats:
    lengths = {name: len(found) for name, found in values.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise InputError(
            f"values must hold as many figures for every method, at least one, got {lengths}; "
            "run the missing seeds"
        )
    table = np.array([list(found) for found in values.values()], dtype=np.float64)
    for name, row in zip(values, table, strict=True):
        if not np.isfinite(row).all():
            raise InputError(f"values must be finite, got {row.tolist()} for {name}; drop failed runs")
    return table


def _mean_ranks(names: Sequence[str], table: Floats) -> dict[str, float]:
    from scipy import stats  # takes half a second

    means = stats.rankdata(-table, axis=0).mean(1)
    return {names[i]: float(means[i]) for i in np.argsort(means, kind="stable")}


def _too_few(methods: int, n: int) -> str:
    if methods < _FEWEST_METHODS:
        return f"ranks compare three methods or more, here {methods}: see the paired difference"
    if n < SMALLEST_RANKED:
        return f"rank tests need {SMALLEST_RANKED} seeds or data sets, here {n}"
    return ""


def _friedman(table: Floats) -> float:
    from scipy import stats  # takes half a second

    if (table == table[0]).all():
        return 1.0
    return float(stats.friedmanchisquare(*table).pvalue)


def _nemenyi(methods: int, n: int, level: float) -> float:
    from scipy import stats  # takes half a second

    quantile = float(stats.studentized_range.ppf(level, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * n))


def _cliques(ranks: Mapping[str, float], width: float) -> tuple[tuple[str, ...], ...]:
    """The longest runs of neighbours closer than ``width``, none inside another."""
    names, found, reached = list(ranks), [], 0
    for start, first in enumerate(names):
        stop = start + sum(ranks[name] - ranks[first] < width for name in names[start:])
        if stop > reached:
            found.append(tuple(names[start:stop]))
            reached = stop
    return tuple(found)


def _pairs(values: Mapping[str, Sequence[float]]) -> tuple[dict[str, Any], ...]:
    both = list(itertools.combinations(values, 2))
    found = [wilcoxon(values[a], values[b]) for a, b in both]
    corrected = holm(found)
    return tuple(
        {"a": a, "b": b, "p": p, "p_holm": p_holm}
        for (a, b), p, p_holm in zip(both, found, corrected, strict=True)
    )
