"""Binary cross-entropy for several labels an example."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.losses.arguments import counted_classes
from tailgrad.losses.multi_label_target import multi_label
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class BinaryCrossEntropyLoss(Settings, nn.Module):
    """``loss = -mean_k [y_k log s_k + (1-y_k) log(1-s_k)]``, ``s = sigmoid(z)``.

    Args:
        class_counts: positive examples of each label, each at least 1; only their number is used.
        reduction: ``"mean"`` over examples, ``"sum"`` or ``"none"`` ([N]); each example's value is the mean
            over labels.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The target is a matrix of zeros and ones [N, K].

    Source: general knowledge; the univariate loss that the others for several labels are compared with.

    Example:
        >>> import torch
        >>> BinaryCrossEntropyLoss()(torch.tensor([[2.0, -1.0, -4.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.1528)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = False
    multi_label: ClassVar[bool] = True

    def __init__(self, class_counts: Sequence[int] | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for a target of zeros and ones [N, K]."""
        logits, y = multi_label(logits, target, self.num_classes)
        values = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
        return reduce(values.mean(1), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every label is treated alike."""
        return None
