"""Class weights from training counts."""

import math
from collections.abc import Sequence

from tailgrad.checks import InputError, in_range, one_of, positive_counts

SCHEMES = ("none", "inverse", "inverse_sqrt", "effective")


def class_weights(
    class_counts: Sequence[int], scheme: str = "inverse", *, beta: float = 0.9999
) -> list[float]:
    """One weight a class, larger for rarer classes.

    With counts n_k, N = sum_k n_k and K classes, ``none`` is ``w_k = 1``; ``inverse`` is
    ``w_k = N / (K n_k)`` and ``inverse_sqrt`` is ``w_k = N n_k^(-1/2) / sum_j n_j^(1/2)``, both with
    ``sum_k n_k w_k = N``;
    ``effective`` is ``w_k = K E_k^(-1) / sum_j E_j^(-1)`` with ``E_k = (1 - beta^n_k) / (1 - beta)``, so that
    ``sum_k w_k = K``.

    Args:
        class_counts: training examples of each class, each at least 1.
        scheme: one of the four.
        beta: for ``"effective"``, 0 (no weighting) to below 1 (inverse frequency in the limit).

    Raises:
        InputError: a count is not positive, the scheme is unknown, or ``beta`` is outside its range.

    Source: arXiv 2606.05740 eq 3 (inverse; the balanced form is assumed); Cui et al., arXiv 1901.05555
    (effective number; ``1 - beta^n`` by expm1, since the plain difference cancels). The authors' TensorFlow
    code divides the weighted sum by the batch, ``normalizer="batch"`` of our losses; LDAM-DRW's PyTorch code
    by the sum of weights, our default. The square root appears in public code as ``(n_min / n_k)^(1/2)``; it
    is scaled here so that the mean weight of a training example is 1.

    Example:
        >>> [round(w, 6) for w in class_weights([100, 10, 1], "effective", beta=0.99)]
        [0.042237, 0.280044, 2.677719]
    """
    counts = positive_counts(class_counts)
    one_of("weights", scheme, SCHEMES)
    if scheme == "none":
        return [1.0] * len(counts)
    if scheme == "effective":
        return _effective(counts, beta)
    power = 1.0 if scheme == "inverse" else 0.5
    total = sum(n ** (1 - power) for n in counts)
    return [sum(counts) * n**-power / total for n in counts]


def _effective(counts: Sequence[int], beta: float) -> list[float]:
    in_range("beta", beta, 0, 1)
    if beta == 1:
        raise InputError(f"beta must be below 1, got {beta}; weights='inverse' is the limit")
    if beta == 0:
        return [1.0] * len(counts)
    inverse = [-1 / math.expm1(n * math.log(beta)) for n in counts]
    return [len(counts) * value / sum(inverse) for value in inverse]
