"""Features drawn towards fixed class vectors."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.losses.arguments import counted_classes
from tailgrad.losses.features import check_rows
from tailgrad.losses.targets import check_target, check_tensor, mix, of_labels
from tailgrad.losses.weighting import check_reduction, listed, reduce
from tailgrad.precision import full_precision
from tailgrad.settings import Settings
from tailgrad.types import Correction

SHORTEST = 1e-8


class DotRegressionLoss(Settings, nn.Module):
    """``loss(h, y) = (<h, m_y> - |m_y| |h|)^2 / (2 |h|)`` with fixed class vectors m.

    No gradient passes through ``|h|``. The loss is 0 where h points along ``m_y`` and nowhere else; it pulls
    h there without pushing it from the other vectors.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        vectors: class vectors [D, K], those of the head ``ETF``.
        balance_lengths: multiply ``m_y`` by ``sqrt((N / K_b) / n_y)``, with ``n_y`` examples of class y among
            the N and ``K_b`` classes of the batch: every class of a batch then weighs the same.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: the vectors are missing or do not fit counts or features, or a target value does not.

    Source: Yang et al. 2022, "Do we really need a learnable classifier", official code; h comes from batch
    normalisation there, as from the head ``ETF`` here, and ``|h|`` is kept above 1e-8.

    Example:
        >>> from math import sqrt
        >>> vectors = torch.tensor([[1.0, -0.5, -0.5], [0.0, sqrt(0.75), -sqrt(0.75)]])
        >>> loss = DotRegressionLoss(vectors=vectors, reduction="none")
        >>> loss(torch.tensor([[3.0, 0.0], [-3.0, 0.0]]), torch.tensor([0, 0]))
        tensor([0., 6.])
    """

    takes: ClassVar[str] = "features"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    head_needed: ClassVar[str] = "etf"
    vectors: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        vectors: Tensor | None = None,
        balance_lengths: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.balance_lengths = balance_lengths
        self.reduction = check_reduction(reduction)
        self.register_buffer("vectors", _checked(vectors, counted_classes(class_counts)))

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """The loss of features [N, D] for class indices [N] or probabilities [N, K]."""
        check_rows(features, self.vectors.shape[0])
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        vectors = self.vectors.to(features.dtype)
        with full_precision(features):
            dots = features @ vectors
        check_target(dots, target)
        length = torch.linalg.vector_norm(features.detach(), dim=1, keepdim=True).clamp(min=SHORTEST)
        wanted = of_labels(torch.linalg.vector_norm(vectors, dim=0)[None], target) * length
        values = (of_labels(dots, target) - wanted) ** 2 / (2 * length)
        if self.balance_lengths:
            values = values * of_labels(_squared_lengths(target, dots)[None], target)
        return reduce(mix(values, target), None, self.reduction)

    def correction(self) -> Correction | None:
        """Listed only: the class vectors are fixed, and no prior is learnt."""
        return listed(self.vectors.shape[1])


def _checked(vectors: Tensor | None, num_classes: int | None) -> Tensor:
    if vectors is None:
        raise InputError(
            "vectors must be given to DotRegressionLoss, got None; use head=etf and pass its vectors"
        )
    check_tensor("vectors", vectors)
    if vectors.ndim != 2 or num_classes not in (None, vectors.shape[1]):
        raise InputError(
            f"vectors must be [D, {num_classes or 'K'}], got {list(vectors.shape)}; pass those of a head "
            "built for the same classes"
        )
    return vectors.detach().clone()


def _squared_lengths(target: Tensor, dots: Tensor) -> Tensor:
    counts = dots.new_zeros(dots.shape[1])
    if target.is_floating_point():
        counts = target.to(dots.dtype).sum(0)
    else:
        counts.index_add_(0, target.long(), torch.ones_like(dots[:, 0]))
    return len(dots) / ((counts > 0).sum() * counts.where(counts > 0, 1.0))
