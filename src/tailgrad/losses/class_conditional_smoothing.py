"""Class-conditional label smoothing: rare classes are smoothed more."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range, one_of
from tailgrad.losses.arguments import prepared, required_counts
from tailgrad.losses.smoothing import smoothed
from tailgrad.losses.weighting import ClassWeighting, check_reduction, listed
from tailgrad.settings import Settings
from tailgrad.types import Correction

SHAPES = ("log", "linear")


class ClassConditionalSmoothing(Settings, nn.Module):
    """``loss(z, y) = w_y [(1 - eps_y)(-log p_y) + (eps_y / K) sum_j (-log p_j)]``, eps falling with n.

    ``eps_k = eps_min + (eps_max - eps_min) r_k`` with ``r_k = log(n_max / n_k) / log(n_max / n_min)``, or
    ``(n_max - n_k) / (n_max - n_min)`` for linear (both 0 where counts are equal). The opposite of
    ``LabelAwareSmoothing``.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        eps_min: smoothing of the largest class, 0 to 1.
        eps_max: smoothing of the smallest class, ``eps_min`` to 1.
        shape: ``"log"`` or ``"linear"``.
        weights: ``"none"``, ``"inverse"``, ``"inverse_sqrt"``, ``"effective"`` (see ``class_weights``) or K
            positive numbers; w_y multiplies the whole term.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N (see
            ``CrossEntropyLoss`` for the choice).
        beta: of the effective number, 0 to below 1.
        defer: epochs without the weights, which apply from the next on (``set_epoch``); at least 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Source: arXiv 2312.02517, which states the direction; formula, shapes and 0 to 0.1 are assumed.

    Example:
        >>> loss = ClassConditionalSmoothing([100, 10, 1])
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(2.3076)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    eps: Tensor
    weight: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        eps_min: float = 0.0,
        eps_max: float = 0.1,
        shape: str = "log",
        weights: str | Sequence[float] = "none",
        normalizer: str = "weights",
        beta: float = 0.9999,
        defer: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "ClassConditionalSmoothing")
        self.weighting = ClassWeighting(counts, weights, beta=beta, normalizer=normalizer, defer=defer)
        self.reduction = check_reduction(reduction)
        in_range("eps_min", eps_min, 0, 1)
        in_range("eps_max", eps_max, eps_min, 1)
        one_of("shape", shape, SHAPES)
        self.register_buffer("eps", torch.tensor(_amounts(counts, eps_min, eps_max, shape)))
        self.register_buffer("weight", self.weighting.tensor())

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        self.weighting.set_epoch(epoch)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = prepared(logits, target, len(self.eps)).log_softmax(1)
        self.weighting.watch.saw(self, target)
        return self.weighting.reduce(smoothed(log_p, self.eps, target), target, self.weight, self.reduction)

    def correction(self) -> Correction | None:
        """``log w_k`` of the weights, deferred or not; without weights the smoothing, which is listed."""
        return self.weighting.correction(without=listed(len(self.eps)))


def _amounts(counts: Sequence[int], low: float, high: float, shape: str) -> list[float]:
    sizes = [math.log(n) for n in counts] if shape == "log" else counts
    span = max(sizes) - min(sizes) or 1
    return [low + (high - low) * (max(sizes) - size) / span for size in sizes]
