"""Whether printed training counts follow the exponential profile that they are said to follow."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from tailgrad.checks import InputError, positive_counts
from tailgrad.evaluate.finding import CONSISTENT, IMPOSSIBLE, Finding


def exponential_counts(largest: int, imbalance_factor: float, num_classes: int) -> tuple[int, ...]:
    """``n_c = int(n_max IF^(-c / (K - 1)))`` of K classes.

    Args:
        largest: n_max.
        imbalance_factor: IF, n_max over the smallest count, at least 1.
        num_classes: K, at least 2.

    Source: Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss" (2019).

    Example:
        >>> exponential_counts(5000, 100, 10)
        (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    """
    exact = (largest * imbalance_factor ** (-c / (num_classes - 1)) for c in range(num_classes))
    # A quotient such as 49 * (1 / 49) lies one rounding error below its integer.
    return tuple(math.floor(value + 1e-9) for value in exact)


def profile_follows(class_names: Sequence[str], training_counts: Sequence[int]) -> Finding:
    """Whether counts are the exponential profile from their first one on, for some imbalance factor.

    The factor is that of the first and the last count. Where the last one was cut to a whole number it lies
    a little higher or lower: counts are called impossible only if no factor gives them, cut or rounded.

    Args:
        class_names: K names.
        training_counts: images of each class [K], the largest first.

    Returns:
        The verdict, with the profile, the classes that deviate, and the ratio of each count to the one
        before: in the profile they are all the same.

    Raises:
        InputError: fewer than two classes, a count that is not positive, a first one smaller than the last.

    Example:
        >>> print(profile_follows(("a", "b", "c"), (100, 40, 1)))
        impossible: training counts: 1 of 3 are not int(100 x 100^(-c/2)): b 40 (10). Each is ...
    """
    counts = positive_counts(training_counts, "training_counts")
    if len(counts) < 2 or counts[0] < counts[-1]:
        raise InputError(
            f"training_counts must fall from the first of at least two classes to the last, got "
            f"{list(counts)}; order the classes by count, or leave out profile"
        )
    how, factor = "int", counts[0] / counts[-1]
    expected = exponential_counts(counts[0], factor, len(counts))
    fitting = None if expected == tuple(counts) else _fitting(counts)
    if fitting is not None:
        (how, factor), expected = fitting, tuple(counts)
    apart = [k for k, (n, wanted) in enumerate(zip(counts, expected, strict=True)) if n != wanted]
    ratios = [later / earlier for earlier, later in pairwise(counts)]
    ratio, wanted_ratio = median(ratios), factor ** (-1 / (len(counts) - 1))
    numbers = {
        "printed": list(counts),
        "profile": list(expected),
        "deviating": [class_names[k] for k in apart],
        "sum": sum(counts),
        "profile_sum": sum(expected),
        "imbalance_factor": factor,
        "ratios": ratios,
        "median_ratio": ratio,
        "profile_ratio": wanted_ratio,
    }
    formula = f"{how}({counts[0]} x {factor:g}^(-c/{len(counts) - 1}))"
    if not apart:
        return Finding("training counts", CONSISTENT, f"All are {formula}.", "", numbers)
    shown = ", ".join(f"{class_names[k]} {counts[k]} ({expected[k]})" for k in apart[:3])
    more = ", ..." if len(apart) > 3 else "."
    sentence = (
        f"{len(apart)} of {len(counts)} are not {formula}: {shown}{more} Each is {ratio:.3f} of the one "
        f"before (median), not {wanted_ratio:.3f}."
    )
    return Finding("training counts", IMPOSSIBLE, sentence, "", numbers)


def _fitting(counts: Sequence[int]) -> tuple[str, float] | None:
    """How counts are made whole and an imbalance factor that gives them all, if there are such."""
    largest, *others = counts
    for how, below, above in (("int", 0.0, 1.0), ("round", 0.5, 0.5)):
        # Of n_c = n_max r^c, every count leaves an interval for the ratio r of neighbours.
        lows = [((n - below) / largest) ** (1 / c) for c, n in enumerate(others, 1)]
        highs = [((n + above) / largest) ** (1 / c) for c, n in enumerate(others, 1)]
        low, high = max(lows), min(1.0, *highs)
        if low <= high:
            return how, ((low + high) / 2) ** -len(others)
    return None
