"""Is one method better than another? Paired comparisons over seeds, images and methods."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.confusion import Floats, Values, as_numpy
from tailgrad.evaluate.intervals import student_t
from tailgrad.evaluate.signed_rank import signed_rank_p
from tailgrad.evaluate.steps import in_steps

ONE_SEED = "nothing can be concluded from one seed"
SMALLEST_RANKED = 6
"""Pairs below which a rank test can find nothing: over 5, Wilcoxon's smallest p value is 0.0625."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean difference ``a - b`` over seeds, its interval and what follows from it.

    Args:
        mean: mean difference.
        low: lower end of the interval, or None where there is none.
        high: upper end, or None.
        p: two-sided p value, or None.
        n: number of pairs.
        how: the method in words.
        verdict: ``better``, ``worse``, ``cannot be told``, or `ONE_SEED`.

    Example:
        >>> PairedDifference(0.1, 0.02, 0.18, 0.03, 3, "Student t", "better").to_dict()["n"]
        3
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    how: str
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "PairedDifference":
        """Inverse of `to_dict`."""
        return cls(**fields)


def _differences(a: Sequence[float], b: Sequence[float]) -> Floats:
    if len(a) != len(b) or len(a) == 0:
        raise InputError(
            f"a and b must pair up seed by seed, got {len(a)} and {len(b)} values; run the missing seeds"
        )
    found = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not np.isfinite(found).all():
        raise InputError(
            f"a and b must be finite, got differences {found.tolist()}; drop failed runs from both"
        )
    return found


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    test_train_ratio: float | None = None,
    level: float = 0.95,
    unit: str = "seed",
) -> PairedDifference:
    """Compare method a with method b over seeds, seed by seed.

    ``d = mean(a - b)``, interval ``d +- t_{n-1} s sqrt(1/n + rho)`` with ``rho = n_test / n_train`` when
    every seed draws its own split of the same images (overlapping training sets make seeds dependent)
    and 0 otherwise. Higher is taken to be better: for a loss, swap a and b.

    Args:
        a: figure of the method judged, one a seed.
        b: figure of the method it is judged against, same seeds in the same order.
        test_train_ratio: rho > 0 for resampled splits; None for a fixed test set.
        level: coverage wanted, in (0, 1).
        unit: what a pair stands for, in words.

    Returns:
        ``better`` or ``worse`` where the interval leaves 0 out, else ``cannot be told``; with one seed, and
        where all differences are equal (no spread to judge by), there is neither interval nor p value.

    Raises:
        InputError: lengths that differ, no pair, a value that is not finite, a parameter out of range.

    Source: Student (1908); Nadeau and Bengio, "Inference for the generalization error" (2003),
    the corrected resampled t-test.

    Example:
        >>> result = paired_difference([0.64, 0.66, 0.65], [0.60, 0.61, 0.62])
        >>> result.verdict, round(result.mean, 3), round(result.p, 3)
        ('better', 0.04, 0.02)
    """
    rho = (
        0.0 if test_train_ratio is None else in_range("test_train_ratio", test_train_ratio, 0, exclusive=True)
    )
    found = _differences(a, b)
    estimate, n = student_t(found.tolist(), level, rho, unit), len(found)
    if n == 1:
        return PairedDifference(estimate.value, None, None, None, 1, estimate.how, ONE_SEED)
    if estimate.low is None:
        p = 1.0 if abs(estimate.value) <= 1e-12 else None
        return PairedDifference(estimate.value, None, None, p, n, estimate.how, "cannot be told")
    t = estimate.value / (float(found.std(ddof=1)) * (1 / n + rho) ** 0.5)
    p = float(2 * special.stdtr(n - 1, -abs(t)))
    verdict = "cannot be told" if p >= 1 - level else "better" if t > 0 else "worse"
    return PairedDifference(estimate.value, estimate.low, estimate.high, p, n, estimate.how, verdict)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Images that only one of two models gets right, and the exact p value.

    Args:
        only_a: images right with a and wrong with b.
        only_b: images right with b and wrong with a.
        p: two-sided exact p value.

    Example:
        >>> McNemar(3, 0, 0.25).p
        0.25
    """

    only_a: int
    only_b: int
    p: float


def mcnemar_exact(correct_a: Values, correct_b: Values) -> McNemar:
    """Exact McNemar test of two models on the same test images.

    Of the images on which they differ, each model is right on half if they are equally good: a binomial test.

    Args:
        correct_a: whether model a is right on each image [N] (boolean or 0/1).
        correct_b: the same for model b, same images in the same order.

    Raises:
        InputError: lengths that differ.

    Source: McNemar (1947), exact form.

    Example:
        >>> mcnemar_exact([True, True, True, False], [False, False, False, False]).p
        0.25
    """
    from scipy import stats  # takes half a second

    a, b = as_numpy(correct_a).astype(bool), as_numpy(correct_b).astype(bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(
            f"correct_a and correct_b must be [N] on the same images, got {a.shape} and {b.shape}; "
            "compare runs of one split"
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    differing = only_a + only_b
    p = float(stats.binomtest(only_a, differing).pvalue) if differing else 1.0
    return McNemar(only_a, only_b, p)


def wilcoxon(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Two-sided p value of the Wilcoxon signed-rank test, or None below 6 pairs that differ.

    With 5 pairs the smallest p value it can give is 0.0625: it could never find anything. Exact up to 50.

    Args:
        a: figures of one method, one a seed or data set.
        b: figures of the other, in the same order.

    Raises:
        InputError: lengths that differ, no pair, a value that is not finite.

    Source: Wilcoxon (1945); Demsar (2006) for its use between classifiers.

    Example:
        >>> wilcoxon([0.61, 0.62, 0.63, 0.64, 0.65, 0.66], [0.60, 0.60, 0.60, 0.60, 0.60, 0.60])
        0.03125
        >>> wilcoxon([0.61, 0.62], [0.60, 0.60]) is None
        True
    """
    found = _differences(a, b)
    # 0.90 - 0.87 and 0.63 - 0.60 differ in the last bit.
    found = in_steps(found, max(np.abs(a).max(), np.abs(b).max()))
    found = found[found != 0]
    return signed_rank_p(found) if len(found) >= SMALLEST_RANKED else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of m p values; None (nothing tested) stays None and does not count.

    ``p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))`` over the sorted values.

    Args:
        p_values: each in [0, 1], or None.

    Returns:
        Corrected p values in the same order.

    Raises:
        InputError: a p value outside [0, 1].

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    tested = [i for i, p in enumerate(p_values) if p is not None]
    values = [in_range(f"p_values[{i}]", float(p_values[i] or 0.0), 0, 1) for i in tested]
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(sorted(zip(values, tested, strict=True))):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        corrected[i] = highest
    return corrected
