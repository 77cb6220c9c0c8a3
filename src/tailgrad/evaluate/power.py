"""What a paired test over n pairs can see, and how many pairs a difference takes."""

import bisect
import math

from scipy import special

from tailgrad.checks import in_range


def power_of_paired_test(
    difference: float,
    spread: float,
    pairs: int,
    *,
    test_train_ratio: float | None = None,
    level: float = 0.95,
) -> float:
    """Probability that `paired_difference` finds a true difference.

    ``T = mean / (s sqrt(1/n + rho))`` is noncentral t with n - 1 degrees and the noncentrality
    ``|difference| / (spread sqrt(1/n + rho))``; it is found where ``|T|`` exceeds the quantile of ``level``.

    Args:
        difference: true mean difference.
        spread: standard deviation of the paired differences, > 0.
        pairs: n >= 2.
        test_train_ratio: rho > 0 for resampled splits; None for independent pairs.
        level: coverage of the interval that judges, in (0, 1).

    Raises:
        InputError: a parameter out of range.

    Source: Cohen (1988); exact under Nadeau and Bengio's assumption of differences that are normal with
    the correlation ``rho / (1 + rho)``.

    Example:
        >>> round(power_of_paired_test(0.03, 0.02, 5), 2)
        0.71
        >>> round(power_of_paired_test(0.03, 0.02, 5, test_train_ratio=0.25), 2)
        0.4
    """
    width = _width(spread, pairs, test_train_ratio)
    in_range("level", level, 0, 1, exclusive=True)
    return _power(abs(in_range("difference", difference, -math.inf)) / width, pairs - 1, level)


def _width(spread: float, pairs: int, ratio: float | None) -> float:
    """Standard error of the mean difference."""
    rho = 0.0 if ratio is None else in_range("test_train_ratio", ratio, 0, exclusive=True)
    return in_range("spread", spread, 0, exclusive=True) * math.sqrt(1 / in_range("pairs", pairs, 2) + rho)


def _power(shift: float, degrees: int, level: float) -> float:
    critical = -float(special.stdtrit(degrees, (1 - level) / 2))
    below, missed = (float(special.nctdtr(degrees, shift, end)) for end in (-critical, critical))
    # SciPy gives NaN far out: below, where nothing is left, and where the shift leaves the noise far behind,
    # so that T is shift / sqrt(chi^2 / degrees).
    if math.isnan(missed):
        missed = float(special.chdtrc(degrees, degrees * (shift / critical) ** 2))
    return 1 - missed + (0.0 if math.isnan(below) else below)


def minimum_detectable_difference(
    spread: float,
    pairs: int,
    *,
    test_train_ratio: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
) -> float:
    """Smallest true difference that `paired_difference` finds with the power wanted.

    Solves `power_of_paired_test` for the difference. A spread from few pairs is itself uncertain: over 3
    pairs its 95 % interval runs from half to six times the value.

    Args:
        spread: standard deviation of the paired differences, > 0.
        pairs: n >= 2.
        test_train_ratio: rho > 0 for resampled splits; None for independent pairs.
        level: coverage of the interval that judges, in (0, 1).
        power: probability of finding it, above 1 - level and below 1.

    Raises:
        InputError: a parameter out of range.

    Source: Cohen (1988), solved for the effect; noncentral t as in `power_of_paired_test`.

    Example:
        >>> [round(minimum_detectable_difference(0.01, pairs), 3) for pairs in (2, 3, 10)]
        [0.115, 0.033, 0.01]
    """
    from scipy import optimize  # takes a fifth of a second

    width = _width(spread, pairs, test_train_ratio)
    _check_power(power, level)
    end = 1.0
    while _power(end, pairs - 1, level) < power:
        end *= 2
    shift = optimize.brentq(lambda at: _power(at, pairs - 1, level) - power, 0.0, end)
    return float(shift) * width


def _check_power(power: float, level: float) -> None:
    in_range("level", level, 0, 1, exclusive=True)
    in_range("power", power, 1 - level, 1, exclusive=True)


def pairs_needed(
    difference: float,
    spread: float,
    *,
    test_train_ratio: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
    most: int = 1000,
) -> int | None:
    """Smallest number of pairs that finds a difference with the power wanted, None beyond ``most``.

    With resampled splits the standard error never falls below ``spread sqrt(rho)``: there may be no number
    of splits that is enough, and only more images help.

    Args:
        difference: true mean difference.
        spread: standard deviation of the paired differences, > 0.
        test_train_ratio: rho > 0 for resampled splits; None for independent pairs.
        level: coverage of the interval that judges, in (0, 1).
        power: probability of finding it, above 1 - level and below 1.
        most: largest number that is of use, at least 2.

    Raises:
        InputError: a parameter out of range.

    Source: as `power_of_paired_test`.

    Example:
        >>> pairs_needed(0.01, 0.01), pairs_needed(0.01, 0.02)
        (10, 34)
        >>> pairs_needed(0.01, 0.02, test_train_ratio=0.25) is None
        True
    """
    _check_power(power, level)
    sizes = range(2, int(in_range("most", most, 2)) + 1)

    def reached(pairs: int) -> float:
        return power_of_paired_test(difference, spread, pairs, test_train_ratio=test_train_ratio, level=level)

    place = bisect.bisect_left(sizes, power, key=reached)
    return sizes[place] if place < len(sizes) else None
