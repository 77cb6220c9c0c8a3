"""Intervals in closed form: Wilson for shares and F1, combined over classes; Student t over seeds."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy import special

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.estimate import NO_IMAGE, Estimate


def wilson(successes: float, total: float, level: float = 0.95) -> Estimate:
    """Share of successes with its Wilson score interval.

    ``(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``; without any trial the value is 0 by
    convention and the interval [0, 1].

    Args:
        successes: number of successes, 0 to ``total``.
        total: number of trials, at least 0.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: more successes than trials, a negative number, or a level outside (0, 1).

    Source: Wilson (1927).

    Example:
        >>> print(wilson(3, 13))
        0.231 [0.082, 0.503]
    """
    in_range("level", level, 0, 1, exclusive=True)
    if not 0 <= successes <= total:
        raise InputError(f"successes must be in [0, total={total}], got {successes}; check the counts")
    if total == 0:
        return Estimate(0.0, 0.0, 1.0, NO_IMAGE)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = successes / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(share, min(low, share), max(high, share), f"Wilson {level:.0%}")


def wilson_f1(true_positive: float, support: float, predicted: float, level: float = 0.95) -> Estimate:
    """F1 of one class with an interval that stays honest at 0 and 1.

    Among the ``U = support + predicted - TP`` images that belong to the class or were given to it, TP is
    binomial with probability J (the Jaccard index), and ``F1 = 2J / (1 + J)`` grows with J; so the ends
    are those of the Wilson interval of ``TP / U``, mapped. A bootstrap would give [0, 0] for a class
    that is never found, however few its images.

    Args:
        true_positive: correct images of the class.
        support: images of the class.
        predicted: images predicted as the class.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: counts that contradict one another, or a level outside (0, 1).

    Example:
        >>> print(wilson_f1(3, 13, 10))
        0.261 [0.100, 0.530]
    """
    if not 0 <= true_positive <= min(support, predicted):
        raise InputError(
            f"true_positive must be in [0, {min(support, predicted)}] (support={support}, "
            f"predicted={predicted}), got {true_positive}; check the counts"
        )
    shared = wilson(true_positive, support + predicted - true_positive, level)
    low, high = shared.low or 0.0, 1.0 if shared.high is None else shared.high
    how = shared.how if support + predicted == 0 else f"Wilson {level:.0%} of TP / (TP + FP + FN)"
    return Estimate(2 * shared.value / (1 + shared.value), 2 * low / (1 + low), 2 * high / (1 + high), how)


def student_t(
    values: Sequence[float], level: float = 0.95, extra_variance: float = 0.0, unit: str = "seed"
) -> Estimate:
    """Mean of n values with ``mean +- t_{n-1} s sqrt(1/n + extra)``; none from one value or equal ones.

    Args:
        values: one figure a seed or split, finite.
        level: coverage wanted, in (0, 1).
        extra_variance: the Nadeau-Bengio term n_test / n_train, at least 0.
        unit: what a value stands for, in words.

    Raises:
        InputError: no value, a value that is not finite, or a parameter out of range.

    Source: Nadeau and Bengio, "Inference for the generalization error" (2003), for the extra term.

    Example:
        >>> print(student_t([0.60, 0.62, 0.64]))
        0.620 [0.570, 0.670]
        >>> student_t([0.60]).low is None
        True
    """
    in_range("level", level, 0, 1, exclusive=True)
    in_range("extra_variance", extra_variance, 0)
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise InputError(f"values must be finite numbers, at least one, got {list(values)}; drop failed runs")
    n, mean = len(sample), float(sample.mean())
    if n == 1:
        return Estimate(mean, None, None, f"one {unit}: no interval")
    spread = float(sample.std(ddof=1))
    # Rounding leaves a spread near 1e-17 where all values are the same number.
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return Estimate(mean, None, None, f"all {n} values are equal: no spread to judge by")
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * spread * math.sqrt(1 / n + extra_variance)
    how = f"Student t {level:.0%} over {n} {unit}s"
    return Estimate(mean, mean - half, mean + half, f"{how}, Nadeau-Bengio" if extra_variance else how)


def combined(parts: Sequence[Estimate]) -> Estimate:
    """Mean of independent figures, their intervals combined.

    ``m - sqrt(sum_k (v_k - l_k)^2) / K`` to ``m + sqrt(sum_k (u_k - v_k)^2) / K``: Newcombe's construction
    for a mean. Unlike a bootstrap it does not collapse where every class is at 0 or 1.

    Args:
        parts: K figures, each with an interval.

    Source: Zou and Donner, "Construction of confidence limits about effect measures" (2008).

    Example:
        >>> print(combined([wilson(0, 5), wilson(5, 5)]))
        0.500 [0.283, 0.717]
    """
    values = np.array([(part.value, part.low, part.high) for part in parts], dtype=np.float64)
    mean = float(values[:, 0].mean())
    down, up = np.linalg.norm(values[:, 1:] - values[:, :1], axis=0) / len(parts)
    return Estimate(mean, mean - float(down), mean + float(up), f"{parts[0].how}, combined over classes")
