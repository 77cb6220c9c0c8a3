"""The asymmetric loss for one label an example."""

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


class AsymmetricLoss(Settings, nn.Module):
    """``loss = -(1-e+e/K) (1-p_y)^g+ log p_y - (e/K) sum_{j!=y} p_j^g- log p_j`` with ``p = softmax(z)``.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        gamma_pos: g+, focusing of the true class, at least 0.
        gamma_neg: g-, focusing of the others, at least 0.
        smoothing: e, 0 to 1. At 0 the other classes carry no target mass and g- has no effect.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The focusing weights stay in the graph. ``gamma_pos = 0`` and ``smoothing = 0`` give cross-entropy.

    Source: Ridnik et al., arXiv 2009.14119, the single-label form and defaults of its public code.

    Example:
        >>> AsymmetricLoss()(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(2.2499)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        smoothing: float = 0.1,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.gamma_pos = in_range("gamma_pos", gamma_pos, 0)
        self.gamma_neg = in_range("gamma_neg", gamma_neg, 0)
        self.smoothing = in_range("smoothing", smoothing, 0, 1)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = prepared(logits, target, self.num_classes).log_softmax(1)
        own = of_labels(log_p, target)
        # Kept above 0, where a power below 1 has no derivative.
        focus = (-own.expm1()).clamp(min=torch.finfo(own.dtype).tiny) ** self.gamma_pos
        values = -focus * own
        if self.smoothing:
            share = self.smoothing / log_p.shape[1]
            focus = (self.gamma_neg * log_p).exp()
            others = (self.gamma_neg * own).exp() * own - (focus * log_p).sum(1, keepdim=True)
            values = (1 - self.smoothing + share) * values + share * others
        return reduce(mix(values, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None
