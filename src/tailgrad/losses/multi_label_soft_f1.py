"""Macro-F1 of independent probabilities as a loss, for several labels an example."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.losses.arguments import counted_classes, set_reduction
from tailgrad.losses.multi_label_target import multi_label
from tailgrad.losses.soft_counts import f1_loss
from tailgrad.losses.weighting import listed
from tailgrad.settings import Settings
from tailgrad.types import Correction


class MultiLabelSoftF1Loss(Settings, nn.Module):
    """``loss = 1 - mean_k F1_k``, ``F1_k = 2 sum_i s_ik y_ik / (sum_i s_ik + sum_i y_ik)``.

    A loss of the whole batch, ``s = sigmoid(z)``, as ``SoftF1Loss`` is for one label an example. A label
    without positives in the batch costs 1 while probability goes to it, and passes no gradient; a batch in
    which no label has either costs 0.

    Args:
        class_counts: positive examples of each label, each at least 1; only their number is used.
        reduction: ``"mean"`` or ``"sum"`` over the labels present in targets or probabilities.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The target is a matrix of zeros and ones [N, K]. ``correction`` lists the loss without multiplying
    anything.

    Source: general knowledge of the method; soft counts over one sigmoid a label.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.8, 0.5], [0.2, 0.5]])
        >>> MultiLabelSoftF1Loss()(p.logit(), torch.tensor([[1, 1], [0, 0]]))
        tensor(0.3500)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = True
    multi_label: ClassVar[bool] = True

    def __init__(self, class_counts: Sequence[int] | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.reduction = set_reduction(reduction, "labels")

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for a target of zeros and ones [N, K]."""
        logits, y = multi_label(logits, target, self.num_classes)
        return f1_loss(logits.sigmoid(), y, 0.0, self.reduction)

    def correction(self) -> Correction | None:
        """Listed only, with zeros; None where the number of labels is not known."""
        return None if self.num_classes is None else listed(self.num_classes)
