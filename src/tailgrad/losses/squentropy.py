"""Squentropy: cross-entropy plus the mean square of the other logits."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.losses.arguments import counted_classes, prepared
from tailgrad.losses.targets import pick
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class SquentropyLoss(Settings, nn.Module):
    """``loss(z, y) = -log p_y + (1 / (K-1)) sum_{j!=y} z_j^2`` with ``p = softmax(z)``.

    Unlike cross-entropy it changes when a number is added to all logits.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit, or K is 1.

    Source: Hui, Belkin and Wright, arXiv 2302.03952; the form on raw logits is general knowledge. There
    is no option.

    Example:
        >>> import torch
        >>> SquentropyLoss()(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1]))
        tensor(3.4076)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(self, class_counts: Sequence[int] | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, self.num_classes)
        if logits.shape[1] < 2:
            raise InputError(
                f"logits must have at least 2 classes, got {logits.shape[1]}; add the other class"
            )
        penalty = _others(logits.square(), target) / (logits.shape[1] - 1)
        return reduce(penalty - pick(logits.log_softmax(1), target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None


def _others(values: Tensor, target: Tensor) -> Tensor:
    """``sum_k t_k sum_{j!=k} values_j = sum_j (sum_k t_k - t_j) values_j`` [N], without cancelling."""
    if target.is_floating_point():
        shares = target.to(values.dtype)
        return ((shares.sum(1, keepdim=True) - shares) * values).sum(1)
    return values.scatter(1, target.long()[:, None], 0).sum(1)
