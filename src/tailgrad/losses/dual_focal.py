"""The dual focal loss."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import counted_classes, prepared
from tailgrad.losses.targets import mix, of_labels
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class DualFocalLoss(Settings, nn.Module):
    """``loss(z, y) = -(1 - p_y + p_m)^gamma log p_y`` with ``p = softmax(z)``.

    ``p_m`` is the largest probability strictly below ``p_y``, 0 if there is none (then the loss is focal).
    A class tied with the true one is not below it.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        gamma: focusing, at least 0 (0 is cross-entropy).
        reduction: ``"mean"``, ``"sum"`` (the public code's default) or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    As in the public code ``p_m`` stays in the graph.

    Source: Tao et al., "Dual Focal Loss for Calibration" (ICML 2023), as in its public code; gamma = 2
    assumed, the code's own default being 0.

    Example:
        >>> DualFocalLoss()(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1]))
        tensor(1.0058)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(
        self, class_counts: Sequence[int] | None = None, *, gamma: float = 2.0, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.gamma = in_range("gamma", gamma, 0)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = prepared(logits, target, self.num_classes).log_softmax(1)
        own = of_labels(log_p, target)
        order = _next_below_each if target.is_floating_point() else _next_below
        place = order(log_p.detach(), own.detach())
        nearest = log_p.gather(1, place)
        below = torch.where(nearest < own, nearest, -torch.inf).exp()
        # Kept above 0, where a power below 1 has no derivative.
        gap = (below - own.expm1()).clamp(min=torch.finfo(own.dtype).tiny)
        return reduce(mix(-(gap**self.gamma) * own, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None


def _next_below(log_p: Tensor, own: Tensor) -> Tensor:
    """Place of the largest entry of each row of log_p [N, K] strictly below own [N, 1]; any if none is."""
    return log_p.masked_fill(log_p >= own, -torch.inf).argmax(1, keepdim=True)


def _next_below_each(log_p: Tensor, own: Tensor) -> Tensor:
    """The same for several values of each row at once: own [N, K]."""
    ordered = log_p.sort(dim=1)
    places = torch.searchsorted(ordered.values, own) - 1
    return ordered.indices.gather(1, places.clamp(min=0))
