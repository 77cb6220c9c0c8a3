"""Weights given to a loss, and how weighted losses become one number."""

import math
from collections.abc import Sequence

from torch import Tensor

from tailgrad.checks import InputError, one_of, positive_counts
from tailgrad.losses.class_weights import class_weights
from tailgrad.types import Correction

REDUCTIONS = ("mean", "sum", "none")
NORMALIZERS = ("weights", "batch")


def resolve_weights(
    class_counts: Sequence[int] | None, weights: str | Sequence[float], beta: float
) -> tuple[float, ...] | None:
    """The class weights meant by a scheme's name or by K numbers; None for ``"none"``.

    Raises:
        InputError: a scheme without counts, an unknown scheme, or weights that are not K positive finite
            numbers.

    Example:
        >>> resolve_weights([1, 1], "inverse", beta=0.9), resolve_weights(None, "none", beta=0.9)
        ((1.0, 1.0), None)
    """
    counts = None if class_counts is None else positive_counts(class_counts)
    if isinstance(weights, str):
        if weights == "none":
            return None
        if counts is None:
            raise InputError(
                f"class_counts must be given with weights={weights!r}, got None; pass the training counts"
            )
        return tuple(class_weights(counts, weights, beta=beta))
    return _explicit(weights, counts)


def check_reduction(reduction: str, normalizer: str) -> None:
    """Make sure that both words are known.

    Raises:
        InputError: one is not.

    Example:
        >>> check_reduction("mean", "weights")
    """
    one_of("reduction", reduction, REDUCTIONS)
    one_of("normalizer", normalizer, NORMALIZERS)


def reduce(losses: Tensor, shares: Tensor | None, reduction: str, normalizer: str) -> Tensor:
    """Losses [N], already weighted, as one number or as they are.

    The mean divides by ``sum_i shares_i`` with ``normalizer="weights"`` and by N with ``"batch"``.

    Args:
        losses: [N].
        shares: each example's class weight [N], or None for ones.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        normalizer: ``"weights"`` or ``"batch"``.

    Example:
        >>> import torch
        >>> losses, shares = torch.tensor([2.0, 6.0]), torch.tensor([1.0, 3.0])
        >>> reduce(losses, shares, "mean", "weights"), reduce(losses, shares, "mean", "batch")
        (tensor(2.), tensor(4.))
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if shares is None or normalizer == "batch":
        return losses.mean()
    return losses.sum() / shares.sum()


def weight_correction(weights: Sequence[float] | None) -> Correction | None:
    """The ledger entry of class weights: their logarithms, or None without weights.

    Example:
        >>> weight_correction((1.0, 1.0))
        Correction(kind='weight', log_shift=(0.0, 0.0))
    """
    return None if weights is None else Correction("weight", tuple(math.log(w) for w in weights))


def _explicit(weights: Sequence[float], counts: tuple[int, ...] | None) -> tuple[float, ...]:
    values = tuple(float(w) for w in weights)
    wanted = len(values) if counts is None else len(counts)
    if not values or len(values) != wanted:
        raise InputError(
            f"weights must hold one number a class, got {len(values)} for {wanted} classes; "
            "give them in the order of the counts"
        )
    for k, w in enumerate(values):
        if not (math.isfinite(w) and w > 0):
            raise InputError(
                f"weights must be positive and finite, got weights[{k}]={w}; give each class a share"
            )
    return values
