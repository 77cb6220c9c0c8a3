"""Weights given to a loss, and how weighted losses become one number."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range, one_of, positive_counts
from tailgrad.losses.class_weights import class_weights
from tailgrad.losses.epoch_watch import EpochWatch
from tailgrad.losses.targets import mix, of_labels
from tailgrad.types import Correction

REDUCTIONS = ("mean", "sum", "none")
NORMALIZERS = ("weights", "batch")


class ClassWeighting:
    """What losses with class weights share: the weights, their mean, and the epoch they begin.

    Up to epoch ``defer`` the loss is the unweighted one; from the next on the weights apply (deferred
    re-weighting). Nothing of this needs saving: ``set_epoch`` says which epoch it is, after a restart too.
    A loss that trains on without ever being told warns once (``watch``).

    Args:
        class_counts: training examples of each class, each at least 1; needed by the schemes.
        weights: a scheme of ``class_weights`` or K positive numbers.
        beta: of the effective number, 0 to below 1.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N.
        defer: epochs without weights, at least 0.

    Raises:
        InputError: an argument does not fit, or weights are deferred that are not there.

    Source: deferred re-weighting is Cao et al., arXiv 1906.07413 (its code: 160 of 200 epochs without, then
    ``"effective"`` with beta 0.9999).

    Example:
        >>> weighting = ClassWeighting([3, 1], "inverse", defer=160)
        >>> weighting.set_epoch(160), weighting.active
        (None, False)
        >>> weighting.set_epoch(161), weighting.active
        (None, True)
    """

    def __init__(
        self,
        class_counts: Sequence[int] | None,
        weights: str | Sequence[float],
        *,
        beta: float = 0.9999,
        normalizer: str = "weights",
        defer: int = 0,
    ) -> None:
        self.weights = resolve_weights(class_counts, weights, beta)
        self.normalizer = one_of("normalizer", normalizer, NORMALIZERS)
        in_range("beta", beta, 0, 1)
        self.defer = in_range("defer", defer, 0)
        if defer and self.weights is None:
            raise InputError(
                f"defer must go with weights, got defer={defer} and weights='none'; set weights='effective' "
                "or the like"
            )
        known = class_counts if self.weights is None else self.weights
        self.num_classes = None if known is None else len(known)
        self.active = defer == 0
        length = 0 if class_counts is None else sum(positive_counts(class_counts))
        self.watch = EpochWatch(length, f"its weights, deferred by {defer} epochs, never apply")
        self.watch.is_told = self.active

    def tensor(self) -> Tensor | None:
        """The weights [K], for the buffer ``weight`` of a loss, or None without."""
        return None if self.weights is None else torch.tensor(self.weights)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        self.active = in_range("epoch", epoch, 1) > self.defer
        self.watch.is_told = True

    def reduce(self, values: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        """Losses of classes, as ``of_labels`` chooses them, weighted and reduced.

        Args:
            values: [N, 1] for class indices, [N, K] for probabilities.
            target: class indices [N] or probabilities [N, K].
            weight: the loss's buffer, [K] or None.
            reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        """
        if weight is None or not self.active:
            return reduce(mix(values, target), None, reduction, self.normalizer)
        shares = of_labels(weight.to(values.dtype)[None], target)
        return reduce(mix(shares * values, target), mix(shares, target), reduction, self.normalizer)

    def correction(self, without: Correction | None = None) -> Correction | None:
        """``log w_k``, those of the last epochs where the weights are deferred, or ``without`` weights."""
        return without if self.weights is None else weight_correction(self.weights)


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
    if not isinstance(weights, str):
        return positive_numbers("weights", weights, counts)
    if weights == "none":
        return None
    if counts is None:
        raise InputError(
            f"class_counts must be given with weights={weights!r}, got None; pass the training counts"
        )
    return tuple(class_weights(counts, weights, beta=beta))


def positive_numbers(
    argument: str, numbers: Sequence[float], counts: Sequence[int] | None
) -> tuple[float, ...]:
    """One positive number a class, as many as there are counts where these are known.

    Raises:
        InputError: the length is another, or a number is not positive and finite in float32, where losses
            hold it.

    Example:
        >>> positive_numbers("weights", [1, 2], None)
        (1.0, 2.0)
    """
    values = tuple(float(number) for number in numbers)
    wanted = len(values) if counts is None else len(counts)
    if not values or len(values) != wanted:
        raise InputError(
            f"{argument} must hold one number a class, got {len(values)} for {wanted} classes; "
            "give them in the order of the counts"
        )
    held = torch.finfo(torch.float32)
    for k, value in enumerate(values):
        if not (math.isfinite(value) and value > 0):
            raise InputError(
                f"{argument} must be positive and finite, got {argument}[{k}]={value}; "
                "give each class a share"
            )
        if not held.tiny <= value <= held.max:
            raise InputError(
                f"{argument} must be within float32, {held.tiny:.2g} to {held.max:.2g}, got "
                f"{argument}[{k}]={value}; scale them, since only their proportions matter"
            )
    return values


def check_reduction(reduction: str, normalizer: str = "weights") -> str:
    """Return the reduction if it and the normaliser are known.

    Raises:
        InputError: one is not.

    Example:
        >>> check_reduction("mean")
        'mean'
    """
    one_of("normalizer", normalizer, NORMALIZERS)
    return one_of("reduction", reduction, REDUCTIONS)


def reduce(
    losses: Tensor, shares: Tensor | None = None, reduction: str = "mean", normalizer: str = "weights"
) -> Tensor:
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


def listed(num_classes: int) -> Correction:
    """The ledger entry of margins and smoothing: named, shifting nothing that the ledger multiplies.

    Example:
        >>> listed(2)
        Correction(kind='listed', log_shift=(0.0, 0.0))
    """
    return Correction("listed", (0.0,) * num_classes)
