"""The encouraging loss: cross-entropy with a bonus for confident right answers."""

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

# Where the logarithm of the bonus stops when no tangent takes over before.
_FLOOR = 1e-5


class EncouragingLoss(Settings, nn.Module):
    """``loss(z, y) = -log p_y + bonus(p_y)`` with ``p = softmax(z)``.

    ``bonus(p) = log(1 - p)`` up to ``p = LE``, then its tangent: ``log(1-LE) - (p-LE) / (1-LE)``. The bonus
    is negative and keeps pushing where cross-entropy has stopped, so values fall below 0: watch
    cross-entropy or accuracy beside it.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        le: LE, 0 to 1; 0.5 is the cautious choice, 1 means no tangent (the logarithm then stops at 1e-5).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Source: Zhao et al., arXiv 2110.06537 ("Well-classified examples are underestimated"), as in its public
    code; LE = 0.75.

    Example:
        >>> import torch
        >>> EncouragingLoss(le=0.5)(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
        tensor(-0.6160)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(
        self, class_counts: Sequence[int] | None = None, *, le: float = 0.75, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.le = in_range("le", le, 0, 1)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = prepared(logits, target, self.num_classes).log_softmax(1)
        own = of_labels(log_p, target)
        doubt = -own.expm1()
        end = max(1 - self.le, _FLOOR)
        beyond = doubt < end  # not `clamp`, whose slope at its end differs between versions of torch
        bonus = torch.where(beyond, torch.full_like(doubt, end), doubt).log()
        if 1 - self.le >= _FLOOR:
            bonus = bonus - torch.where(beyond, end - doubt, torch.zeros_like(doubt)) / end
        return reduce(mix(bonus - own, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None
