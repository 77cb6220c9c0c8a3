"""The exact interval of a share."""

from scipy import special

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.estimate import NO_IMAGE, Estimate


def clopper_pearson(successes: int, total: int, level: float = 0.95) -> Estimate:
    """Share of successes with its exact interval, which covers at least as often as it says.

    From the ``(1 - level) / 2`` quantile of ``Beta(s, n - s + 1)`` to the ``(1 + level) / 2`` quantile of
    ``Beta(s + 1, n - s)``; without any trial the value is 0 by convention and the interval [0, 1].

    Args:
        successes: s, 0 to ``total``.
        total: n, at least 0.
        level: coverage wanted, in (0, 1).

    Raises:
        InputError: more successes than trials, a negative number, or a level outside (0, 1).

    Source: Clopper and Pearson (1934).

    Example:
        >>> print(clopper_pearson(9, 10))
        0.900 [0.555, 0.997]
    """
    in_range("level", level, 0, 1, exclusive=True)
    if not 0 <= successes <= total:
        raise InputError(f"successes must be in [0, total={total}], got {successes}; check the counts")
    if total == 0:
        return Estimate(0.0, 0.0, 1.0, NO_IMAGE)
    rest, tail = total - successes, (1 - level) / 2
    low = float(special.betaincinv(successes, rest + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, rest, 1 - tail)) if rest else 1.0
    return Estimate(successes / total, low, high, f"Clopper-Pearson {level:.0%}")
