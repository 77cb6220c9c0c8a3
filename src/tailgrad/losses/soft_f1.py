"""Macro-F1 of probabilities as a loss."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.losses.arguments import counted_classes, prepared, set_reduction
from tailgrad.losses.soft_counts import f1_loss
from tailgrad.losses.weighting import listed
from tailgrad.settings import Settings
from tailgrad.types import Correction


class SoftF1Loss(Settings, nn.Module):
    """``loss = 1 - mean_k F1_k``, ``F1_k = 2 sum_i p_ik y_ik / (sum_i p_ik + sum_i y_ik)``.

    A loss of the whole batch, ``p = softmax(z)``: the sums run over its examples, and ``reduction="none"`` is
    refused. A class absent from the labels costs 1 while probability goes to it, and passes no gradient:
    batches should hold every class (a stratified or m-per-class sampler).

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        reduction: ``"mean"`` or ``"sum"`` over the classes present in labels or probabilities.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Probabilities as targets enter as ``y``. Macro-F1 favours rare classes without a prior that could be
    named, so ``correction`` lists the loss without multiplying anything.

    Source: general knowledge of the method; soft counts over one softmax.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]])
        >>> SoftF1Loss()(rows.log(), torch.arange(3))
        tensor(0.4013)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = True

    def __init__(self, class_counts: Sequence[int] | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.reduction = set_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        found = prepared(logits, target, self.num_classes).softmax(1)
        return f1_loss(found, target, 0.0, self.reduction)

    def correction(self) -> Correction | None:
        """Listed only, with zeros; None where the number of classes is not known."""
        return None if self.num_classes is None else listed(self.num_classes)
