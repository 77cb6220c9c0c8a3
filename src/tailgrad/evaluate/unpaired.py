"""Two shares of which only the counts are known, as in a printed table."""

import numpy as np

from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.intervals import wilson


def newcombe(successes_a: int, total_a: int, successes_b: int, total_b: int, level: float = 0.95) -> Estimate:
    """Difference of two independent shares ``a - b`` with Newcombe's hybrid score interval.

    ``d - sqrt((p_a - l_a)^2 + (u_b - p_b)^2)`` to ``d + sqrt((u_a - p_a)^2 + (p_b - l_b)^2)``, with l and u
    the Wilson ends. Two models on the same images are paired: prefer `mcnemar_exact` where images are known.

    Args:
        successes_a: successes of a.
        total_a: trials of a.
        successes_b: successes of b.
        total_b: trials of b.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: more successes than trials, a negative number, a level outside (0, 1).

    Source: Newcombe, "Interval estimation for the difference between independent proportions" (1998),
    method 10.

    Example:
        >>> print(newcombe(6, 13, 3, 13))
        0.231 [-0.125, 0.519]
    """
    a, b = wilson(successes_a, total_a, level), wilson(successes_b, total_b, level)
    down = ((a.value - (a.low or 0.0)) ** 2 + ((b.high or 0.0) - b.value) ** 2) ** 0.5
    up = (((a.high or 0.0) - a.value) ** 2 + (b.value - (b.low or 0.0)) ** 2) ** 0.5
    difference = a.value - b.value
    return Estimate(difference, difference - down, difference + up, f"Newcombe {level:.0%}")


def fisher_exact(successes_a: int, total_a: int, successes_b: int, total_b: int) -> float:
    """Two-sided p value of Fisher's exact test of two independent shares.

    Args:
        successes_a: successes of a.
        total_a: trials of a.
        successes_b: successes of b.
        total_b: trials of b.

    Raises:
        InputError: more successes than trials, or a negative number.

    Source: Fisher (1935).

    Example:
        >>> round(fisher_exact(6, 13, 3, 13), 3)
        0.411
    """
    from scipy import stats  # takes half a second

    for successes, total in ((successes_a, total_a), (successes_b, total_b)):
        wilson(successes, total)
    table = np.array([[successes_a, total_a - successes_a], [successes_b, total_b - successes_b]])
    return float(stats.fisher_exact(table).pvalue)
