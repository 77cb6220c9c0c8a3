"""Label-aware smoothing (MiSLAS): frequent classes are smoothed more."""

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

SHAPES = ("concave", "linear", "convex")


class LabelAwareSmoothing(Settings, nn.Module):
    """``loss(z, y) = w_y [(1 - eps_y)(-log p_y) + (eps_y / K) sum_j (-log p_j)]``, eps rising with n.

    With head h, tail t and ``r_k = (n_k - n_min) / (n_max - n_min)`` (0 where counts are equal), concave is
    ``eps_k = t + (h - t) sin(pi r_k / 2)``, linear ``t + (h - t) r_k`` and convex
    ``h + (h - t) sin(3 pi / 2 + pi r_k / 2)``. The opposite of ``ClassConditionalSmoothing``.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        head: h, smoothing of the largest class, ``tail`` to 1.
        tail: t, smoothing of the smallest class, 0 to 1.
        shape: ``"concave"``, ``"linear"`` or ``"convex"``.
        weights: ``"none"``, ``"inverse"``, ``"inverse_sqrt"``, ``"effective"`` (see ``class_weights``) or K
            positive numbers; w_y multiplies the whole term.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N (see
            ``CrossEntropyLoss`` for the choice).
        beta: of the effective number, 0 to below 1.
        defer: epochs without the weights, which apply from the next on (``set_epoch``); at least 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Source: Zhong et al., arXiv 2104.00466, and its code: 0.3 and 0 for CIFAR-10-LT, 0.4 and 0.1 for
    CIFAR-100-LT, both at imbalance 100, in the second stage. Weights are our addition.

    Example:
        >>> loss = LabelAwareSmoothing([100, 10, 1])
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
        tensor(0.7076)
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
        head: float = 0.3,
        tail: float = 0.0,
        shape: str = "concave",
        weights: str | Sequence[float] = "none",
        normalizer: str = "weights",
        beta: float = 0.9999,
        defer: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "LabelAwareSmoothing")
        self.weighting = ClassWeighting(counts, weights, beta=beta, normalizer=normalizer, defer=defer)
        self.reduction = check_reduction(reduction)
        in_range("tail", tail, 0, 1)
        in_range("head", head, tail, 1)
        one_of("shape", shape, SHAPES)
        self.register_buffer("eps", torch.tensor(_amounts(counts, head, tail, shape)))
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


def _amounts(counts: Sequence[int], head: float, tail: float, shape: str) -> list[float]:
    span = max(counts) - min(counts) or 1
    places = [(n - min(counts)) / span for n in counts]
    if shape == "convex":
        places = [1 - math.cos(math.pi * r / 2) for r in places]
    elif shape == "concave":
        places = [math.sin(math.pi * r / 2) for r in places]
    return [tail + (head - tail) * place for place in places]
