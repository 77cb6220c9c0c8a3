"""The Dice loss over a batch, with the self-adjusting factor."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import counted_classes, prepared, set_reduction
from tailgrad.losses.soft_counts import f1_loss
from tailgrad.losses.weighting import listed
from tailgrad.settings import Settings
from tailgrad.types import Correction


class DiceLoss(Settings, nn.Module):
    """``loss = mean_k [1 - (2 sum_i q_ik y_ik + s) / (sum_i q_ik + sum_i y_ik + s)]``.

    A loss of the whole batch, ``q = (1 - p)^alpha p``, ``p = softmax(z)``; ``reduction="none"`` is refused.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        alpha: of the self-adjusting factor, at least 0. Above 0 the best probability of the true class is no
            longer 1 (0.5 at alpha = 1): keep it small.
        smoothing: s, at least 0.
        reduction: ``"mean"`` or ``"sum"`` over the classes present in labels or probabilities.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Probabilities as targets enter as ``y``. With alpha = 0 and s = 0 it is ``SoftF1Loss``.

    Source: Li et al., arXiv 1911.02855, as read in third-party code. The set version: that code divides
    the numerator of one element by sums over the set. s = 1e-4 and alpha = 0 assumed.

    Example:
        >>> rows = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]])
        >>> DiceLoss(reduction="sum")(rows.log(), torch.arange(3))
        tensor(1.2039)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        alpha: float = 0.0,
        smoothing: float = 1e-4,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.alpha = in_range("alpha", alpha, 0)
        self.smoothing = in_range("smoothing", smoothing, 0)
        self.reduction = set_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        found = prepared(logits, target, self.num_classes).softmax(1)
        if self.alpha:
            found = (1 - found).clamp(min=torch.finfo(found.dtype).tiny) ** self.alpha * found
        return f1_loss(found, target, self.smoothing, self.reduction)

    def correction(self) -> Correction | None:
        """Listed only, with zeros; None where the number of classes is not known."""
        return None if self.num_classes is None else listed(self.num_classes)
